/**
 * `npm run import:upscale`: makes the model `upscale` from the weights of the npm package `@upscalerjs/default-model`.
 *
 * The model is a residual dense network that takes and gives pixels of 0 to 255 (the package's `inputRange`), so a
 * pixel is handed over as it is: scale 1. model.json and the weights are copied unchanged, beside their MIT licence.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Tensor, tensor4d, tidy } from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { loadModel, openVersion, sealVersion, toBase64, WEIGHTS_FILE, writeJson } from '../artefact.js';
import { computeOn, packageFolder } from '../compute.js';
import { cropDetail, drawPicture } from './picture.js';

const PACKAGE = '@upscalerjs/default-model';
const COPIED = {
  'model.json': 'models/model.json',
  [WEIGHTS_FILE]: `models/${WEIGHTS_FILE}`,
  LICENSE: 'LICENSE',
};

const MANIFEST = {
  name: 'upscale',
  version: 1,
  description: 'Enlarges a picture: JPEG, PNG or WebP in, PNG of twice the width and height out.',
  format: 'layers',
  signature: {
    inputs: [
      {
        name: 'image',
        dtype: 'image',
        shape: [null, null, 3],
        maxShape: [512, 512, 3],
        scale: 1,
        maxPixels: 512 * 512,
        description: 'A JPEG, PNG or WebP file of at most 512 x 512 pixels.',
      },
    ],
    outputs: [{ name: 'image', dtype: 'image', shape: [null, null, 3], maxShape: [1024, 1024, 3], scale: 1 }],
  },
  batching: { maxBatchSize: 4, maxDelayMs: 20 },
  golden: 'golden.json',
  provenance: {
    source: 'npm package @upscalerjs/default-model 1.0.0, by Kevin Scott (https://upscalerjs.com)',
    licence: 'MIT, see LICENSE',
    architecture: 'Residual dense network (C1, D2, G4, G0 64), twice the size',
    data: 'DIV2K, as the package says',
  },
};

const { values } = parseArgs({ options: { out: { type: 'string', default: 'deploy/models/upscale' } } });
await importUpscale(values.out);

async function importUpscale(out: string): Promise<void> {
  const folder = join(out, '1');
  const source = packageFolder(PACKAGE);
  openVersion(folder);
  for (const [path, from] of Object.entries(COPIED)) copyFileSync(join(source, from), join(folder, path));

  const picture = await drawPicture();
  writeJson(join(folder, 'golden.json'), await computeGolden(folder, await cropDetail(picture)));
  sealVersion(folder, [...Object.keys(COPIED), 'golden.json'], MANIFEST);
  writeExample(join(out, 'examples'), picture);
  console.log(`written to ${out}`);
}

/** Returns golden vectors: the instance of a caller, and the reference backend's pixels before rounding and clipping. */
async function computeGolden(folder: string, picture: Buffer) {
  await computeOn('cpu');
  const model = await loadModel(folder);
  const { data, info } = await sharp(picture).raw().toBuffer({ resolveWithObject: true });
  const pixels = tidy(() => {
    const images = tensor4d(Float32Array.from(data), [1, info.height, info.width, info.channels]);
    return (model.predict(images) as Tensor).dataSync() as Float32Array;
  });
  model.dispose();
  return { instances: [toInstance(picture)], outputs: [{ image: { b64: toBase64(pixels) } }] };
}

/** The picture to look at, and the body for `POST /v1/jobs` that sends it. */
function writeExample(folder: string, picture: Buffer): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'picture.png'), picture);
  writeJson(join(folder, 'picture.json'), { model: 'upscale', instances: [toInstance(picture)] });
}

function toInstance(picture: Buffer) {
  return { image: { b64: picture.toString('base64') } };
}
