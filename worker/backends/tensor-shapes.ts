/**
 * The shapes that a version's tensors must have in a batch, on whichever backend.
 */
import {
  hasRows,
  type Manifest,
  modelShape,
  type TensorSpec,
} from '../../shared/contract/models/manifest.js';
import { textOf } from '../../shared/model-packages/ports.js';
import type { BatchTensors, RunOptions } from './backend.js';

/** The types that hold no fractions. */
const WHOLE: ReadonlySet<string> = new Set([
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
  'uint32',
  'uint64',
]);

/** Returns the number of rows of a batch: those of any input that has rows, else one. */
export function rowsOf(manifest: Manifest, batch: BatchTensors): number {
  const spec = manifest.signature.inputs.find((each) => hasRows(manifest, each));
  return spec ? (batch[spec.name]?.shape[0] ?? 0) : 1;
}

/** Refuses a tensor of another shape. TensorFlow would end the process over some of them. */
export function demandInput(manifest: Manifest, spec: TensorSpec, shape: readonly number[]): void {
  const { batchSize = null } = manifest.signature;
  const wanted = batchShape(manifest, spec, batchSize);
  if (!fits(wanted, shape))
    throw new Error(`input ${spec.name} is ${textOf(shape)}, the model takes ${textOf(wanted)}`);
}

/** Returns the shape of an input for a whole batch, as the signature says that the model has it. */
export function batchShape(
  manifest: Manifest,
  spec: TensorSpec,
  rows: number | null,
): readonly (number | null)[] {
  const shape = modelShape(spec, spec.shape);
  return hasRows(manifest, spec) ? [rows, ...shape] : shape;
}

/**
 * Compares an input with the model. Kernels do not: a convolution takes any height. The warm-up shows whether the outputs fit.
 * @param port is the model's own, with its batch dimension; a size that varies is null or -1, and there may be no shape at all.
 */
export function demandPort(
  manifest: Manifest,
  spec: TensorSpec,
  { type, shape: sizes }: { type: string; shape?: readonly (number | null)[] | null | undefined },
): void {
  const { dtype, name, scale = 1, preprocess } = spec;
  const isWhole = scale === 1 && !preprocess?.mean && !preprocess?.std;
  if (dtype === 'image' && !isWhole && WHOLE.has(type))
    throw new Error(
      `input ${name} of the model is ${type}, which takes pixels as they are, without scale, mean and std`,
    );
  if (!sizes) return;
  const [batch = null] = sizes;
  // Manifests of old do not tell a fixed batch; the model itself refuses any other one.
  const { batchSize = batch } = manifest.signature;
  const wanted = batchShape(manifest, spec, batchSize);
  const isFitting =
    sizes.length === wanted.length &&
    sizes.every((size, axis) => size === null || size < 0 || size === wanted[axis]);
  if (!isFitting)
    throw new Error(`input ${name} is ${textOf(wanted)}, the model takes ${textOf(sizes)} with its batch`);
}

/** Refuses an output that is not what the signature says, because it may be another output. */
export function demandOutput(
  manifest: Manifest,
  spec: TensorSpec,
  shape: readonly number[],
  rows: number,
): void {
  if (hasRows(manifest, spec) && shape[0] !== rows)
    throw new Error(
      `output ${spec.name} is ${textOf(shape)} for a batch of ${rows}; \`batch: shared\` in model.yaml is for an output without rows`,
    );
  const sizes = hasRows(manifest, spec) ? shape.slice(1) : shape;
  const wanted = modelShape(spec, spec.shape);
  if (!fits(wanted, sizes))
    throw new Error(`output ${spec.name} is ${textOf(sizes)}, the signature says ${textOf(wanted)}`);
}

/** Returns the outputs that a run computes, in the order of the signature. */
export function wantedOutputs({ signature }: Manifest, { outputs }: RunOptions): TensorSpec[] {
  return outputs ? signature.outputs.filter(({ name }) => outputs.includes(name)) : signature.outputs;
}

function fits(wanted: readonly (number | null)[], shape: readonly number[]): boolean {
  return (
    shape.length === wanted.length && wanted.every((size, axis) => size === null || size === shape[axis])
  );
}
