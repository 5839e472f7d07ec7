/** Models in formats that are not served as they are: each is recognised by what it holds, and answered with the way on. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readManifest } from '../../shared/model-packages/manifest.js';
import { zip } from '../support/zip.js';

const parent = mkdtempSync(join(tmpdir(), 'sluice-formats-'));
afterAll(() => rmSync(parent, { recursive: true, force: true }));

const latin = (text: string) => Buffer.from(text, 'latin1');
const keras = zip(
  ['metadata.json', 'config.json', 'model.weights.h5'].map((path) => ({ path, content: '{}' })),
);
const torch = zip(['m/data.pkl', 'm/data/0'].map((path) => ({ path, content: 'x' })));
const header = '{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';

it.each<[string, Record<string, string | Buffer>, RegExp]>([
  [
    'a JSON of another name',
    { 'digits.json': '{"format": "layers-model"}' },
    /^digits.json .*rename it to model.json/,
  ],
  ['Keras 3', { 'digits.bin': keras }, /^digits.bin is a model of Keras 3: `python3 .*export/],
  ['Keras 3, unpacked', { 'config.json': '{}', 'model.weights.h5': 'x' }, /model of Keras 3: `python3/],
  ['Keras in HDF5', { weights: latin('\x89HDF\r\n\x1a\n') }, /in HDF5: `python3 .*model.h5/],
  [
    'a whole model in HDF5',
    { 'm.h5': latin('\x89HDF\r\n\x1a\n keras_version model_config layer_names') },
    /^m.h5 is a model of Keras in HDF5/,
  ],
  [
    'weights of Keras 2',
    { 'm.h5': latin('\x89HDF\r\n\x1a\n layer_names') },
    /^m.h5 holds weights of Keras alone, in HDF5: build the model.*load_weights/,
  ],
  [
    'weights of Keras 3',
    { 'm.weights.h5': latin('\x89HDF\r\n\x1a\n layers') },
    /^m.weights.h5 holds weights of Keras alone/,
  ],
  ['TensorFlow Lite', { x: latin('\x1c\0\0\0TFL3') }, /TensorFlow Lite.*as a SavedModel/],
  [
    'ONNX',
    { x: latin('\x08\x07\x12\x07pytorch') },
    /^x is a model in ONNX: one file at the top of the folder is model.onnx/,
  ],
  ['ONNX in a folder', { 'deep/x.onnx': 'x' }, /^deep\/x.onnx is a model in ONNX/],
  ['PyTorch', { x: torch }, /PyTorch: write it by torch.onnx.export as model.onnx/],
  ['PyTorch, unpacked', { 'data.pkl': 'x', 'data/0': 'x' }, /PyTorch/],
  ['old PyTorch', { x: latin('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.') }, /PyTorch/],
  [
    'safetensors',
    { x: Buffer.concat([latin('\x36\0\0\0\0\0\0\0'), latin(header)]) },
    /weights alone \(safetensors\)/,
  ],
  ['JAX', { 'flax_model.msgpack': 'x' }, /JAX.*native_serialization=False/],
  ['a checkpoint', { checkpoint: 'x', 'm.index': 'x' }, /checkpoint, which holds weights alone/],
  ['a frozen graph', { 'frozen_inference_graph.pb': 'x' }, /frozen graph/],
  [
    'TensorFlow.js of old',
    { 'tensorflowjs_model.pb': 'x', 'weights_manifest.json': '[]' },
    /TensorFlow.js before 1.0: pb2json_converter.ts/,
  ],
  ['a SavedModel in text', { 'saved_model.pbtxt': 'x' }, /text form of a SavedModel: save it as binary/],
  [
    'an archive',
    { 'm.zip': zip([{ path: 'saved_model.pb', content: 'x' }]) },
    /archive: send it as the part `archive`/,
  ],
  ['a gzipped archive', { 'm.tgz': latin('\x1f\x8b\x08') }, /archive: send it as the part `archive`/],
  ['a pickle', { 'model.joblib': 'x' }, /pickle of Python/],
  [
    'nothing known',
    { 'a.txt': 'x', 'b.json': '{}' },
    /^there is neither saved_model.pb nor model.json nor model.onnx$/,
  ],
])('%s', async (_, files, message) => {
  const folder = mkdtempSync(join(parent, 'model-'));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  await expect(readManifest(folder, { name: 'm', version: 1 })).rejects.toThrow(message);
});
