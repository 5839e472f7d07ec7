/**
 * Instances on their way through a model: decoded, stacked to a batch, and split into results again.
 *
 * Promises: an instance that cannot be decoded, or for which the model computes NaN or Infinity, fails alone; NaN and Infinity are
 * given where the model says so.
 */
import { messageOf } from '../../../shared/base/errors.js';
import { SluiceError } from '../../../shared/contract/errors.js';
import {
  hasRows,
  type Manifest,
  nonFiniteOf,
  type TensorSpec,
} from '../../../shared/contract/models/manifest.js';
import type { Instance, Value } from '../../../shared/contract/tensors/tensor.js';
import type { BatchTensor, BatchTensors } from '../../backends/backend.js';
import { finiteRows, split, stack } from '../../backends/tensors.js';
import type { InstanceResult } from '../protocol/messages.js';
import { decodeImage, encodeImage } from './images.js';
import { padInstance, trim } from './padding.js';
import { rank } from './ranking.js';
import { decodeSound } from './sounds.js';

/** An instance, or why it cannot be computed. */
export type DecodedInstance = SoundInstance | Extract<InstanceResult, { ok: false }>;

export interface SoundInstance {
  ok: true;
  /** The instance with its images and sounds decoded. */
  instance: Instance;
  /** The same as the model is given it: padded, and with masks. */
  padded: Instance;
}

/**
 * Resolves with the instance as a model of this manifest is given it; one that cannot be decoded is `invalid_image` or
 * `invalid_audio`.
 * @throws {SluiceError} when this installation cannot decode images at all.
 */
export async function decodeInstance({ signature }: Manifest, instance: Instance): Promise<DecodedInstance> {
  const decoded: Record<string, Value> = { ...instance };
  for (const spec of signature.inputs) {
    const value = instance[spec.name];
    if (value?.dtype !== 'image' && value?.dtype !== 'audio') continue;
    try {
      decoded[spec.name] =
        value.dtype === 'image' ? await decodeImage(value, spec) : decodeSound(value, spec);
    } catch (error) {
      if (error instanceof SluiceError) throw error;
      return { ok: false, code: `invalid_${value.dtype}`, message: `${spec.name}: ${messageOf(error)}` };
    }
  }
  return { ok: true, instance: decoded, padded: padInstance(signature, decoded) };
}

/**
 * Returns the inputs of a batch, one row for each padded instance. Throws when their shapes differ. An input without a batch
 * dimension is that of the first instance; the parent lets only instances share a batch that agree in it.
 */
export function stackInstances(manifest: Manifest, padded: readonly Instance[]): BatchTensors {
  const stacked = manifest.signature.inputs.map((spec) => {
    if (hasRows(manifest, spec)) return [spec.name, stack(padded, spec.name)] as const;
    const { shape, ...tensor } = stack(padded.slice(0, 1), spec.name);
    return [spec.name, { ...tensor, shape: shape.slice(1) }] as const;
  });
  return Object.fromEntries(stacked);
}

/** Returns the row of each instance. Without a batch dimension an output is the same for all of them. */
export function rowsOfOutput(
  manifest: Manifest,
  spec: TensorSpec,
  batch: BatchTensor,
  count: number,
): Value[] {
  if (hasRows(manifest, spec)) return split(batch);
  return new Array<Value>(count).fill(split({ ...batch, shape: [1, ...batch.shape] })[0] as Value);
}

/**
 * Resolves with one result for each instance, in their order, once its images are encoded.
 * @param outputs has the computed outputs with the rows of the sound instances, in their order; rows that filled the batch up
 *   may follow.
 */
export async function resultsOf(
  manifest: Manifest,
  outputs: BatchTensors,
  decoded: readonly DecodedInstance[],
): Promise<InstanceResult[]> {
  const sound = decoded.filter((entry) => entry.ok);
  const computed = (await soundResults(manifest, outputs, sound)).values();
  return decoded.map((entry) => (entry.ok ? (computed.next().value as InstanceResult) : entry));
}

async function soundResults(
  manifest: Manifest,
  outputs: BatchTensors,
  sound: readonly SoundInstance[],
): Promise<InstanceResult[]> {
  const { signature } = manifest;
  const computed = signature.outputs.filter(({ name }) => Object.hasOwn(outputs, name));
  const columns = computed.map((spec) => {
    const batch = outputs[spec.name] as BatchTensor;
    const rows = rowsOfOutput(manifest, spec, batch, sound.length);
    const finite = hasRows(manifest, spec)
      ? finiteRows(batch)
      : new Array(sound.length).fill(finiteRows({ ...batch, shape: [1, ...batch.shape] })[0]);
    return { spec, rows, finite };
  });
  const resultOf = async ({ instance }: SoundInstance, row: number): Promise<InstanceResult> => {
    const values: Record<string, Value> = {};
    for (const { spec, rows, finite } of columns) {
      const nonFinite = finite[row] ? undefined : nonFiniteOf(manifest, spec);
      if (nonFinite === 'fail') {
        return { ok: false, code: 'non_finite_output', message: `${spec.name} has NaN or Infinity in it` };
      }
      const value = await finish(rows[row] as Value, spec, signature.inputs, instance);
      values[spec.name] = nonFinite ? { ...value, nonFinite } : value;
    }
    return { ok: true, outputs: values };
  };
  return Promise.all(sound.map(resultOf));
}

/** Resolves with a row of an output as a caller gets it. */
async function finish(
  row: Value,
  spec: TensorSpec,
  inputs: readonly TensorSpec[],
  given: Instance,
): Promise<Value> {
  const value = trim(spec, inputs, row, given);
  if (spec.dtype === 'image') return encodeImage(value, spec);
  return spec.postprocess ? rank(value, spec) : value;
}
