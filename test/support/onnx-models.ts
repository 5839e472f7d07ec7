/** The models of tiny-models.ts as ONNX files, which test/fixtures/onnx_models.py has written. */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest, TensorSpec } from '../../shared/contract/models/manifest.js';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { ROOT } from './stack.js';
import {
  type TinyModel,
  writeCentred,
  writeDense,
  writeDifference,
  writeDouble,
  writeMasked,
  writeProduct,
} from './tiny-models.js';

/** The folder of the ONNX files. */
export const ONNX_FIXTURES = join(ROOT, 'test/fixtures/onnx');

/** Models that each backend has in the format which it runs. */
export const TFJS_MODELS = {
  dense: writeDense,
  product: writeProduct,
  difference: writeDifference,
  double: writeDouble,
  masked: writeMasked,
  centred: writeCentred,
};
export type TinyModels = typeof TFJS_MODELS;

export const ONNX_MODELS: TinyModels = {
  dense: asOnnx(writeDense, 'dense'),
  product: asOnnx(writeProduct, 'product'),
  difference: asOnnx(writeDifference, 'difference'),
  double: asOnnx(writeDouble, 'double'),
  masked: asOnnx(writeMasked, 'masked'),
  centred: asOnnx(writeCentred, 'centred'),
};

/** Writes the ONNX file in the place of the other files. Pictures have their channels first there. */
function asOnnx<More extends unknown[]>(
  write: (parent: string, ...more: More) => TinyModel,
  fixture: string,
): (parent: string, ...more: More) => TinyModel {
  return (parent, ...more) => {
    const { folder, manifest } = write(parent, ...more);
    const { 'model.json': _, 'weights.bin': __, ...files } = manifest.files;
    for (const name of ['model.json', 'weights.bin']) rmSync(join(folder, name));
    copyFileSync(join(ONNX_FIXTURES, `${fixture}.onnx`), join(folder, 'model.onnx'));
    files['model.onnx'] = createHash('sha256')
      .update(readFileSync(join(folder, 'model.onnx')))
      .digest('hex');
    const { inputs, outputs } = manifest.signature;
    const signature = { inputs: inputs.map(channelsFirst), outputs: outputs.map(channelsFirst) };
    return {
      folder,
      manifest: { ...manifest, format: 'onnx', signature, files: files as Manifest['files'] },
    };
  };
}

function channelsFirst(spec: TensorSpec): TensorSpec {
  return spec.dtype === 'image' ? { ...spec, layout: 'NCHW' } : spec;
}

/** Makes a version of one ONNX file of the fixtures, as an upload does. */
export async function versionOfOnnx(
  parent: string,
  fixture: string,
  { beside = [], yaml = '' }: { beside?: string[]; yaml?: string } = {},
): Promise<TinyModel> {
  const folder = mkdtempSync(join(parent, `${fixture}-`));
  for (const name of [`${fixture}.onnx`, ...beside])
    copyFileSync(join(ONNX_FIXTURES, name), join(folder, name));
  if (yaml) writeFileSync(join(folder, 'model.yaml'), yaml);
  return { folder, manifest: await readManifest(folder, { name: fixture, version: 1 }) };
}
