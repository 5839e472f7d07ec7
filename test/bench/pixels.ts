/**
 * The network of `upscale` as a model of tensors: the same weights, the same computing, no pictures to decode and encode.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { writeJson } from '../../deploy/models/artefact.js';
import type { Golden } from '../../shared/contract/model.js';
import { toNested } from '../../shared/contract/tensor.js';
import { readManifest } from '../../shared/core/manifest.js';
import { readGolden } from '../../worker/inference/golden.js';
import { decodeImage } from '../../worker/inference/images.js';

const SOURCE = { name: 'upscale', version: 1 };
const NAME = 'upscale-pixels';
const GOLDEN = 'golden.json';

/** Answers `folder`, in which the model then is; its sizes are those of the golden picture. */
export async function writePixelsModel(folder: string, modelsDir: string): Promise<string> {
  const source = join(modelsDir, SOURCE.name, String(SOURCE.version));
  const target = join(folder, NAME, String(SOURCE.version));
  cpSync(source, target, { recursive: true });
  const manifest = await readManifest(source, SOURCE);
  const [spec] = manifest.signature.inputs;
  const picture = (await readGolden(source, manifest))?.instances[0]?.image;
  if (!spec || !picture) throw new Error(`${SOURCE.name} has no golden picture`);
  const pixels = await decodeImage(picture, spec);
  const { outputs } = JSON.parse(readFileSync(join(source, GOLDEN), 'utf8')) as Golden;
  writeJson(join(target, GOLDEN), { instances: [toNested(pixels)], outputs });
  const [height = 0, width = 0, channels = 0] = pixels.shape;
  const tensor = (shape: number[]) => [{ name: 'image', dtype: 'float32', shape }];
  const said = {
    signature: {
      inputs: tensor([height, width, channels]),
      outputs: tensor([2 * height, 2 * width, channels]),
    },
    batching: manifest.batching,
    golden: GOLDEN,
  };
  writeFileSync(join(target, 'model.yaml'), stringify(said));
  return folder;
}
