/**
 * `upscale` with a golden picture that is heavy enough to be the bound, the bundled example, and its network as a model of
 * tensors, `upscale-pixels`: the same weights, the same computing, no pictures to decode and encode.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Tensor, tensor4d, tidy } from '@tensorflow/tfjs-core';
import { stringify } from 'yaml';
import { loadModel, toBase64, writeJson } from '../../../deploy/models/artefact.js';
import { computeOn } from '../../../deploy/models/compute.js';
import type { Manifest, Signature } from '../../../shared/contract/models/manifest.js';
import { toTypedArray } from '../../../shared/contract/tensors/dtypes.js';
import { toNested, type Value } from '../../../shared/contract/tensors/tensor.js';
import { readImageHeader } from '../../../shared/images/image.js';
import { readManifest } from '../../../shared/model-packages/manifest.js';
import { decodeImage } from '../../../worker/inference/child/images.js';

const SOURCE = { name: 'upscale', version: 1 };
const PICTURE = 'examples/picture.png';
const GOLDEN = 'golden.json';
const CHANNELS = 3;

/** Answers `folder`, in which both models then are. */
export async function writePictureModels(folder: string, modelsDir: string): Promise<string> {
  const source = join(modelsDir, SOURCE.name, String(SOURCE.version));
  const { files: _, ...manifest } = await readManifest(source, SOURCE);
  const picture = readFileSync(join(modelsDir, SOURCE.name, PICTURE));
  const pixels = await pixelsOf(picture, manifest.signature);
  const outputs = [{ image: { b64: toBase64(await compute(source, pixels)) } }];
  const write = (name: string, signature: Signature, instance: unknown) => {
    const target = join(folder, name, String(SOURCE.version));
    cpSync(source, target, { recursive: true });
    writeJson(join(target, GOLDEN), { instances: [instance], outputs });
    writeFileSync(join(target, 'model.yaml'), stringify({ ...manifest, name, signature }));
  };
  write(SOURCE.name, manifest.signature, { image: { b64: picture.toString('base64') } });
  write('upscale-pixels', tensorsFor(pixels), toNested(pixels));
  return folder;
}

async function pixelsOf(picture: Buffer, { inputs: [spec] }: Manifest['signature']): Promise<Value> {
  if (!spec) throw new Error(`${SOURCE.name} takes no picture`);
  const { height, width } = await readImageHeader(picture);
  return decodeImage({ dtype: 'image', shape: [height, width, CHANNELS], data: picture }, spec);
}

async function compute(folder: string, { shape, data }: Value): Promise<Float32Array> {
  await computeOn('wasm');
  const model = await loadModel(folder);
  const [height = 0, width = 0, channels = 0] = shape;
  const values = toTypedArray('float32', data) as Float32Array;
  const computed = tidy(
    () =>
      (model.predict(tensor4d(values, [1, height, width, channels])) as Tensor).dataSync() as Float32Array,
  );
  model.dispose();
  return computed;
}

function tensorsFor({ shape: [height = 0, width = 0, channels = 0] }: Value): Signature {
  const tensor = (shape: number[]) => [{ name: 'image', dtype: 'float32' as const, shape }];
  return {
    inputs: tensor([height, width, channels]),
    outputs: tensor([2 * height, 2 * width, channels]),
  };
}
