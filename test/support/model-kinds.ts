/**
 * Kinds of models as people bring them: each as an upload would hold it, made of the fixtures. The table of kinds in
 * deploy/guides/which-models.md is made of them.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Edit, editSavedModel, rename } from './saved-model-edit.js';
import { ROOT } from './stack.js';
import { zip } from './zip.js';

export interface ModelKind {
  kind: string;
  /** The program that wrote it. */
  source: string;
  /** The fields of its model.yaml; none is sent where left out. */
  yaml?: string;
  /** Writes the files into an empty folder. */
  write(folder: string): void;
}

const FIXTURES = join(ROOT, 'test/fixtures');
const MNIST = join(ROOT, 'deploy/models/mnist/1');
const KERAS = 'Keras 3, `model.export`';
const MODULE = '`tf.Module`, `tf.saved_model.save`';
const CONVERTER = '`tensorflowjs_converter`';
const WRITTEN_BY_HAND = 'a graph of one operation';

/** A fixture without what only tests read. */
function copied(path: string, edit?: Edit): ModelKind['write'] {
  return (folder) => {
    cpSync(join(FIXTURES, path), folder, { recursive: true });
    for (const name of ['model.yaml', 'golden.json', 'expected.json'])
      rmSync(join(folder, name), { force: true });
    if (edit) editSavedModel(folder, edit);
  };
}

const onnx =
  (name: string): ModelKind['write'] =>
  (folder) =>
    cpSync(join(FIXTURES, 'onnx', `${name}.onnx`), join(folder, 'model.onnx'));

const file =
  (name: string, content: string | Buffer): ModelKind['write'] =>
  (folder) =>
    writeFileSync(join(folder, name), content);

const savedModel = (kind: string, source: string, path: string, yaml?: string): ModelKind => ({
  kind: `SavedModel: ${kind}`,
  source,
  write: copied(path),
  ...(yaml && { yaml }),
});

const digits: ModelKind['write'] = (folder) => {
  for (const name of readdirSync(MNIST).filter((each) => /^(model\.json|.*\.bin)$/.test(each)))
    cpSync(join(MNIST, name), join(folder, name));
};
const DIGITS = 'signature: {outputs: [{name: y, dtype: float32, shape: [10]}]}';

/** Sounds at the model's rate, in the place of numbers. */
const SOUND = 'signature: {inputs: [{name: x, dtype: audio, sampleRate: 16000}]}';

/** A graph of TensorFlow.js that applies one operation to rows of four numbers. */
function graph(op: string, type = 'DT_FLOAT', withSignature = true): ModelKind['write'] {
  const size = (count: number) => ({ dim: [{ size: '-1' }, { size: String(count) }] });
  const port = (name: string) => ({ name, dtype: type, tensorShape: size(4) });
  const node = [
    { name: 'x', op: 'Placeholder', attr: { dtype: { type }, shape: { shape: size(4) } } },
    { name: 'y', op, input: ['x'], attr: { T: { type } } },
  ];
  return file(
    'model.json',
    JSON.stringify({
      format: 'graph-model',
      ...(withSignature && { signature: { inputs: { x: port('x:0') }, outputs: { y: port('y:0') } } }),
      modelTopology: { versions: { producer: 1 }, node },
      weightsManifest: [],
    }),
  );
}

/** The signatures of test/fixtures/operations/computing. */
const OPERATIONS = {
  sound: 'Fourier transforms, `MelSpectrogram`',
  resized: 'bicubic and area resize',
  places: '`Roll`, `TensorScatter…`',
  algebra: 'linear algebra',
  segments: 'segments',
  pictures: 'PNG and JPEG inside',
  uneven: 'ragged and sparse tensors inside',
  words: 'strings inside',
  seeded: '`StatelessRandom…`',
  flow: 'loops and branches of both versions',
};

/** The kinds in the order of the table. */
export const MODEL_KINDS: readonly ModelKind[] = [
  { kind: 'layers model', source: 'tfjs, `model.save`', yaml: DIGITS, write: digits },
  {
    kind: 'layers model that names no format',
    source: 'tfjs 1',
    yaml: DIGITS,
    write(folder) {
      digits(folder);
      const path = join(folder, 'model.json');
      const { format: _, ...model } = JSON.parse(readFileSync(path, 'utf8'));
      writeFileSync(path, JSON.stringify(model));
    },
  },
  {
    kind: 'layers model with a layer of its own',
    source: 'tfjs, `model.save`',
    yaml: DIGITS,
    write(folder) {
      digits(folder);
      const path = join(folder, 'model.json');
      writeFileSync(path, readFileSync(path, 'utf8').replaceAll('"Dense"', '"MyLayer"'));
    },
  },
  { kind: 'layers model without a `model.yaml`', source: 'tfjs, `model.save`', write: digits },
  {
    kind: 'layers model of Keras 3',
    source: CONVERTER,
    yaml: DIGITS,
    write(folder) {
      digits(folder);
      const path = join(folder, 'model.json');
      writeFileSync(path, readFileSync(path, 'utf8').replaceAll('batch_input_shape', 'batch_shape'));
    },
  },
  { kind: 'graph model with its signature', source: CONVERTER, write: graph('Relu') },
  {
    kind: 'graph model without a signature',
    source: 'converters of old',
    write: graph('Relu', 'DT_FLOAT', false),
  },
  {
    kind: 'graph model that draws random numbers',
    source: WRITTEN_BY_HAND,
    write: graph('RandomStandardNormal'),
  },
  { kind: 'graph model that takes sounds', source: WRITTEN_BY_HAND, yaml: SOUND, write: graph('Relu') },
  { kind: 'graph model with strings', source: WRITTEN_BY_HAND, write: graph('Identity', 'DT_STRING') },
  { kind: 'graph model with an operation of its own', source: WRITTEN_BY_HAND, write: graph('MyOperation') },
  savedModel('convolutions', KERAS, 'models/mnist-cnn/1'),
  savedModel('parts of its training inside', 'Keras 2, `model.save`', 'exports/trained/1'),
  savedModel('every type of number', MODULE, 'exports/types/1'),
  savedModel('strings in and out', MODULE, 'dtypes/texts/1'),
  savedModel('`tf.Example`, as bytes', MODULE, 'dtypes/parsed/1'),
  savedModel('int64, uint32, uint64, int8, int16, uint16, float64', MODULE, 'dtypes/numbers/1'),
  savedModel('two signatures', MODULE, 'signatures/codec/1'),
  savedModel('two signatures, one chosen', MODULE, 'signatures/codec/1', 'signatureName: encode'),
  {
    kind: 'SavedModel: one signature of another name',
    source: 'AutoML, Estimator',
    write: copied('models/mnist-cnn/1', (graph) => {
      const signatures = graph.getSignatureDefMap();
      signatures.del('serve');
      rename(signatures, 'serving_default', 'image_quality');
    }),
  },
  {
    kind: 'SavedModel: no signature',
    source: '`tf.saved_model.save` without a function',
    write: copied('models/mnist-cnn/1', (graph) => {
      for (const name of ['serve', 'serving_default']) graph.getSignatureDefMap().del(name);
    }),
  },
  savedModel('batch of 1', 'TF2 detection zoo', 'signatures/fixed-1/1'),
  savedModel('batch of 4', MODULE, 'signatures/fixed-4/1'),
  savedModel('side input (threshold)', MODULE, 'signatures/side-input/1'),
  savedModel(
    'no batch dimension',
    'YAMNet and its like',
    'signatures/waveform/1',
    'batching: {dimension: none}',
  ),
  savedModel('predictions that depend on the batch', MODULE, 'signatures/batch-mean/1'),
  savedModel('sounds', MODULE, 'signatures/fixed-4/1', SOUND),
  savedModel(
    'sounds as float64',
    MODULE,
    'dtypes/numbers/1',
    'signature: {inputs: [{name: float64, dtype: audio, sampleRate: 8000}]}',
  ),
  savedModel(
    'sounds as int16',
    MODULE,
    'dtypes/numbers/1',
    'signature: {inputs: [{name: int16, dtype: audio, sampleRate: 8000}]}',
  ),
  savedModel('whole pixels', MODULE, 'signatures/pixels/1'),
  ...Object.entries(OPERATIONS).map(([name, what]) => ({
    kind: `SavedModel: ${what}`,
    source: MODULE,
    yaml: `signatureName: ${name}`,
    // Each signature would have its warm-up in each row.
    write: copied('operations/computing/1', (graph) => {
      for (const other of Object.keys(OPERATIONS)) if (other !== name) graph.getSignatureDefMap().del(other);
    }),
  })),
  savedModel('lookup tables and vocabularies', 'Keras `StringLookup`', 'operations/tables/1'),
  savedModel('vocabularies of texts as they come', 'Keras `StringLookup`', 'operations/texts/1'),
  savedModel('lookup tables of TensorFlow 1', '`SavedModelBuilder`', 'operations/of-old/1'),
  savedModel('random numbers', MODULE, 'operations/chance/1'),
  savedModel('random numbers, allowed', MODULE, 'operations/chance/1', 'stateful: allow'),
  { kind: 'SavedModel as text', source: '`as_text=True`', write: file('saved_model.pbtxt', 'x') },
  { kind: 'ONNX: convolutions', source: '`tf2onnx`', write: copied('models/mnist-cnn-onnx/1') },
  { kind: 'ONNX: batch of 1', source: '`onnx.helper`', write: onnx('fixed') },
  {
    kind: 'ONNX: sounds',
    source: '`onnx.helper`',
    yaml: SOUND.replace('name: x', 'name: input.1'),
    write: onnx('fixed'),
  },
  { kind: 'ONNX: token numbers (int64)', source: '`onnx.helper`', write: onnx('tokens') },
  { kind: 'ONNX: loops and branches', source: '`onnx.helper`', write: onnx('control-flow') },
  { kind: 'ONNX: operations of its own', source: '`onnx.helper`', write: onnx('custom') },
  { kind: 'ONNX: random numbers', source: '`onnx.helper`', write: onnx('random') },
  { kind: 'ONNX: sequences', source: '`onnx.helper`', write: onnx('sequence') },
  { kind: 'ONNX: complex numbers', source: '`onnx.helper`', write: onnx('complex') },
  {
    kind: 'Keras file',
    source: 'Keras 3, `model.save`',
    write: file('model.keras', zip([{ path: 'model.weights.h5', content: 'x' }])),
  },
  {
    kind: 'HDF5',
    source: 'Keras 2, `model.save`',
    write: file('model.h5', Buffer.from('\x89HDF\r\n\x1a\n', 'latin1')),
  },
  { kind: 'TensorFlow Lite', source: 'TFLiteConverter', write: file('model.tflite', '\x1c\0\0\0TFL3') },
  {
    kind: 'PyTorch',
    source: '`torch.save`',
    write: file('model.pt', zip([{ path: 'model/data.pkl', content: 'x' }])),
  },
  { kind: 'graph model of old', source: 'tfjs before 1.0', write: file('tensorflowjs_model.pb', 'x') },
  { kind: 'weights alone', source: '`safetensors`', write: file('model.safetensors', 'x') },
  { kind: 'weights alone', source: 'Flax, JAX', write: file('params.msgpack', 'x') },
  { kind: 'frozen graph', source: 'TensorFlow 1', write: file('frozen_graph.pb', 'x') },
];
