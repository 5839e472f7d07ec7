/**
 * Encoding a job's input: the instances that a caller sends become the instances that Sluice stores.
 *
 * Each version has one encoder, and its schemas are compiled when it is made. tfjs would take `null` for 0, "5" for 5, a
 * ragged array for a full one, and NaN for a number; none of them passes here. A fault names the place of the bad value
 * as a JSON Pointer (RFC 6901) into the body. No size that a caller states decides how much memory is allocated.
 */

import { type Fault, invalid } from '../errors.js';
import { NumberGrid } from '../json/number-grid.js';
import { type Manifest, sentInputs, type TensorSpec } from '../models/manifest.js';
import { escapePointer } from '../schema.js';
import { createAudioEncoder } from './audio-input.js';
import { createGridEncoder } from './grid-input.js';
import { createImageEncoder, type ReadImageHeader } from './image-input.js';
import { asObject, type EncodeValue, type FindFile, fail, has, InputFault } from './input-value.js';
import { createStringEncoder } from './string-input.js';
import type { Instance, Value } from './tensor.js';
import { createTensorEncoder } from './tensor-input.js';

export interface InputEncoder {
  /**
   * Encodes all instances or none. Their numbers may come as arrays or as number grids.
   *
   * @param base JSON Pointer of `instances` in the body
   * @param findFile without it, no instance may name a file
   * @throws {SluiceError} `invalid_input` with one fault for each bad instance, at most `MAX_FAULTS`
   */
  encode(instances: readonly unknown[], base?: string, findFile?: FindFile): Promise<Instance[]>;
}

const NO_FILES: FindFile = async () => 'no file can be named here';

const MAX_FAULTS = 20;

/**
 * Returns the encoder of one version.
 *
 * @param readImageHeader is handed in, because it loads a native library that the contract must not need.
 */
export function createInputEncoder(manifest: Manifest, readImageHeader: ReadImageHeader): InputEncoder {
  const inputs = sentInputs(manifest.signature).map((spec) => ({
    name: spec.name,
    spec,
    encode: createValueEncoder(spec, readImageHeader),
  }));
  const only = inputs.length === 1 ? inputs[0] : undefined;

  async function encodeInstance(instance: unknown, path: string, findFile: FindFile): Promise<Instance> {
    if (only && !isNamed(only.spec, instance))
      return { [only.name]: await only.encode(instance, path, findFile) };
    const fields = asObject(instance instanceof NumberGrid ? instance.toJSON() : instance, path);
    const known = new Set(inputs.map((input) => input.name));
    for (const field of Object.keys(fields)) {
      if (!known.has(field)) fail(`${path}/${escapePointer(field)}`, 'is not an input of this model');
    }
    const values: Record<string, Value> = {};
    for (const { name, encode } of inputs) {
      const at = `${path}/${escapePointer(name)}`;
      if (!Object.hasOwn(fields, name)) fail(at, 'is required');
      values[name] = await encode(fields[name], at, findFile);
    }
    return values;
  }

  return {
    async encode(instances, base = '/instances', findFile = NO_FILES) {
      const encoded: Instance[] = [];
      const faults: Fault[] = [];
      for (const [index, instance] of instances.entries()) {
        try {
          encoded.push(await encodeInstance(instance, `${base}/${index}`, findFile));
        } catch (error) {
          if (!(error instanceof InputFault)) throw error;
          faults.push(error.fault);
          if (faults.length === MAX_FAULTS) break;
        }
      }
      if (faults.length > 0) throw invalid(faults);
      return encoded;
    },
  };
}

/**
 * Tells whether an instance of a model with one input gives it by its name, as callers of other servers do. Where the name is also
 * a field of a value, the field comes first.
 */
function isNamed({ name, dtype }: TensorSpec, instance: unknown): boolean {
  if (!has(instance, name)) return false;
  const value = instance[name];
  if (name === dtype && (dtype === 'image' || dtype === 'audio')) return has(value, dtype);
  if (name === 'b64' || name === 'file') return typeof value !== 'string';
  return name !== 'shape' || !(has(instance, 'b64') || has(instance, 'file'));
}

/** Returns the encoder of one input. A number grid that it does not admit is shown to it as arrays, of which it tells the fault. */
function createValueEncoder(spec: TensorSpec, readImageHeader: ReadImageHeader): EncodeValue {
  const encode = createEncoderOfKind(spec, readImageHeader);
  const encodeGrid = createGridEncoder(spec);
  return (value, path, findFile) =>
    value instanceof NumberGrid
      ? (encodeGrid(value) ?? encode(value.toJSON(), path, findFile))
      : encode(value, path, findFile);
}

function createEncoderOfKind(spec: TensorSpec, readImageHeader: ReadImageHeader): EncodeValue {
  if (spec.dtype === 'image') return createImageEncoder(spec, readImageHeader);
  if (spec.dtype === 'audio') return createAudioEncoder(spec);
  return spec.dtype === 'string' ? createStringEncoder(spec) : createTensorEncoder(spec, spec.dtype);
}
