/**
 * Quantises the weights of a tfjs model from float32 to float16 or uint8, in tfjs' own file format. tfjs widens them to float32
 * when it loads, so only the files shrink.
 *
 * float16 keeps 11 bits. uint8 is affine for each weight, value = q × scale + min. As in tensorflowjs_converter, `min` moves so
 * that 0 stays 0, because padding and pruned weights are zeros. A few MB at a time are in memory, whatever the file's size.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Quantization } from '../contract/models/manifest.js';
import { plainPath } from '../contract/models/package-path.js';
import { elementsOf } from '../contract/tensors/tensor.js';
import { type ModelFile, type Weight, widthOf } from './weights.js';

interface Range {
  min: number;
  scale: number;
}

export const QUANTIZED_WEIGHTS = 'quantized.bin';
const CHUNK_ELEMENTS = 1024 * 1024;

/** Writes `QUANTIZED_WEIGHTS` into the folder. Returns the model.json that names it, and the files that it replaces. */
export async function quantizeWeights(
  folder: string,
  modelFile: string,
  dtype: Quantization['dtype'],
): Promise<{ model: string; replaced: string[] }> {
  const model = JSON.parse(modelFile) as ModelFile;
  const replaced = model.weightsManifest.flatMap(({ paths }) => paths.map(plainPath));
  const source = await openShards(replaced.map((path) => join(folder, path)));
  const target = await open(join(folder, QUANTIZED_WEIGHTS), 'wx');
  try {
    let offset = 0;
    const weights: Weight[] = [];
    for (const weight of model.weightsManifest.flatMap((group) => group.weights)) {
      const count = elementsOf(weight.shape);
      const width = widthOf(weight);
      if (width === undefined)
        throw new Error(`the weight ${weight.name} is ${weight.dtype}, which is not quantised`);
      const from = { offset, count, width };
      weights.push(await copyWeight(source, from, weight, dtype, (bytes) => target.appendFile(bytes)));
      offset += count * width;
    }
    const weightsManifest = [{ paths: [QUANTIZED_WEIGHTS], weights }];
    return { model: JSON.stringify({ ...model, weightsManifest }), replaced };
  } finally {
    await target.close();
    await source.close();
  }
}

type Shards = Awaited<ReturnType<typeof openShards>>;
type WeightPlace = { offset: number; count: number; width: number };

/** Weights that are not float32, or are quantised already, stay as they are. */
async function copyWeight(
  source: Shards,
  place: WeightPlace,
  weight: Weight,
  dtype: Quantization['dtype'],
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<Weight> {
  if (weight.dtype !== 'float32' || weight.quantization) {
    for await (const bytes of chunksOf(source, place)) await write(bytes);
    return weight;
  }
  if (dtype === 'float16') {
    const { Float16Array } = await import('@petamoriken/float16');
    for await (const bytes of chunksOf(source, place))
      await write(bytesOf(new Float16Array(floatsOf(bytes)).buffer));
    return { ...weight, quantization: { dtype, original_dtype: 'float32' } };
  }
  const range = await rangeOf(source, place, weight.name);
  for await (const bytes of chunksOf(source, place)) await write(toUint8(floatsOf(bytes), range));
  return { ...weight, quantization: { dtype, ...range, original_dtype: 'float32' } };
}

async function rangeOf(source: Shards, place: WeightPlace, name: string): Promise<Range> {
  let [low, high] = [0, 0];
  for await (const bytes of chunksOf(source, place))
    for (const value of floatsOf(bytes)) {
      if (!Number.isFinite(value)) throw new Error(`the weight ${name} has NaN or Infinity in it`);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  const scale = (high - low) / 255 || 1;
  // `min` is a whole number of steps below 0, so that 0 is exact.
  return { scale, min: -Math.round(-low / scale) * scale };
}

function toUint8(values: Float32Array, { min, scale }: Range): Uint8Array {
  const quantized = new Uint8ClampedArray(values.length);
  // Uint8ClampedArray rounds and clamps on assignment.
  for (let i = 0; i < values.length; i++) quantized[i] = ((values[i] as number) - min) / scale;
  return bytesOf(quantized.buffer);
}

async function* chunksOf(source: Shards, { offset, count, width }: WeightPlace): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < count; done += CHUNK_ELEMENTS)
    yield await source.read(offset + done * width, Math.min(CHUNK_ELEMENTS, count - done) * width);
}

/** Reads several files as if they were one. */
async function openShards(paths: readonly string[]) {
  const files = await Promise.all(paths.map(async (path) => ({ handle: await open(path), size: 0 })));
  for (const file of files) file.size = (await file.handle.stat()).size;

  async function read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let start = 0;
    let filled = 0;
    for (const { handle, size } of files) {
      const from = Math.max(offset + filled, start);
      if (from < start + size && filled < length) {
        const wanted = Math.min(length - filled, start + size - from);
        filled += (await handle.read(bytes, filled, wanted, from - start)).bytesRead;
      }
      start += size;
    }
    if (filled < length) throw new Error('the files of weights are shorter than model.json says');
    return bytes;
  }

  return { read, close: () => Promise.all(files.map(({ handle }) => handle.close())) };
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function bytesOf(buffer: ArrayBufferLike): Uint8Array {
  return new Uint8Array(buffer);
}
