/**
 * Tells by the files of a folder, and by the bytes with which they begin, in which format a model is that is not served as it
 * is, and which way leads from there to one that is. No file is opened by the library of its format.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';

/** The text form of a SavedModel. */
export const SAVED_MODEL_TEXT = 'saved_model.pbtxt';
/** Bytes from each end of a file in which marks are looked for. */
const LOOKED_AT_BYTES = 64 * 1024;
/** The most files that are opened. */
const MAX_LOOKED_AT = 20;

const EXPORT = `python3 -c "import keras; keras.models.load_model('model.keras').export('export')"`;
const AS_ONNX = 'write it by torch.onnx.export as model.onnx';

const ONNX_WRITERS = /^(pytorch|onnx|tf2onnx|skl2onnx|keras|CoreMLTools|MXNet|paddle)/i;

interface Ends {
  /** Bytes as characters of Latin-1. */
  start: string;
  end: string;
}

/** A format by a name, or by what its files hold, and the advice to whoever sends one. Earlier ones go first. */
const FORMATS: readonly [is: (path: string, ends: Ends) => boolean, advice: string][] = [
  [
    (path, { start }) => path.endsWith('.json') && /"format":\s*"(layers|graph)-model"/.test(start),
    'is a model of TensorFlow.js: rename it to model.json',
  ],
  [
    (_, { start, end }) => isZip(start) && end.includes('model.weights.h5'),
    `is a model of Keras 3: \`${EXPORT}\` makes a SavedModel of it`,
  ],
  [
    (path, { start, end }) => (isZip(start) && end.includes('/data.pkl')) || isPickleOfTorch(path, start),
    `is a model of PyTorch: ${AS_ONNX}`,
  ],
  [
    (_, { start }) => isZip(start) || start.startsWith('\x1f\x8b') || start.slice(257, 262) === 'ustar',
    'is an archive: send it as the part `archive`',
  ],
  [
    (path, { start }) => isHdf5(start) && (path.endsWith('.weights.h5') || isOfWeights(start)),
    "holds weights of Keras alone, in HDF5: build the model in Python, call model.load_weights and model.export('export')",
  ],
  [
    (_, { start }) => isHdf5(start),
    `is a model of Keras in HDF5: \`${EXPORT.replace('.keras', '.h5')}\` makes a SavedModel of it`,
  ],
  [
    (_, { start }) => start.slice(4, 8) === 'TFL3',
    'is a model of TensorFlow Lite, from which no way leads back: export the model that it was made of as a SavedModel',
  ],
  [
    (path, { start }) => path.endsWith('.onnx') || isOnnx(start),
    'is a model in ONNX: one file at the top of the folder is model.onnx, or the only one with a name that ends so',
  ],
  [
    (path, { start }) => path.endsWith('.safetensors') || start.slice(8, 10) === '{"',
    `holds weights alone (safetensors): load the model in Python and ${AS_ONNX}`,
  ],
  [
    (path) => path.endsWith('.msgpack') || /(^|\/)(_CHECKPOINT_METADATA|manifest\.ocdbt)$/.test(path),
    'holds weights of JAX alone: write the model by tf.saved_model.save and jax2tf.convert(…, native_serialization=False)',
  ],
  [(path) => path.endsWith('.pbtxt'), 'is the text form of a SavedModel: save it as binary, saved_model.pb'],
  [
    (path) => path.endsWith('tensorflowjs_model.pb'),
    'is a model of TensorFlow.js before 1.0: pb2json_converter.ts of tfjs-converter makes a model.json of it, as its README says',
  ],
  [
    (path) => path.endsWith('.pb'),
    'may be a frozen graph of TensorFlow 1: write it as a SavedModel by tf.compat.v1.saved_model.simple_save',
  ],
  [
    (path) => /\.(index|meta|ckpt)$|\.data-\d+-of-\d+$|(^|\/)checkpoint$/.test(path),
    "is part of a checkpoint, which holds weights alone: load it in Python and call model.export('export')",
  ],
  [
    (path) => /\.(pkl|pickle|joblib)$/.test(path),
    'is a pickle of Python, which is a program and is never run here: export the model to ONNX or as a SavedModel',
  ],
];

/** Names of files in the folder of a format that an archive has unpacked already. */
const UNPACKED: readonly [names: readonly string[], advice: string][] = [
  [['config.json', 'model.weights.h5'], `this is a model of Keras 3: \`${EXPORT}\` makes a SavedModel of it`],
  [['data.pkl'], `this is a model of PyTorch: ${AS_ONNX}`],
];

/** These lie beside saved_model.pb, and say nothing of another format when that is missing. */
const OF_SAVED_MODEL = /^(fingerprint|keras_metadata)\.pb$|^variables\//;

/** Resolves to what a folder without an entry file holds, and what to do about it; null when that is unknown. */
export async function foreignFormat(folder: string, paths: readonly string[]): Promise<string | null> {
  for (const [names, advice] of UNPACKED) if (names.every((name) => paths.includes(name))) return advice;
  const foreign = paths.filter((path) => !OF_SAVED_MODEL.test(path));
  for (const path of foreign.slice(0, MAX_LOOKED_AT)) {
    const ends = await endsOf(join(folder, path));
    const advice = FORMATS.find(([is]) => is(path, ends))?.[1];
    if (advice !== undefined) return `${path} ${advice}`;
  }
  return null;
}

async function endsOf(path: string): Promise<Ends> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const read = async (position: number) => {
      const { bytesRead, buffer } = await file.read(
        Buffer.alloc(LOOKED_AT_BYTES),
        0,
        LOOKED_AT_BYTES,
        position,
      );
      return buffer.toString('latin1', 0, bytesRead);
    };
    return { start: await read(0), end: await read(Math.max(0, size - LOOKED_AT_BYTES)) };
  } finally {
    await file.close();
  }
}

function isZip(start: string): boolean {
  return start.startsWith('PK\x03\x04');
}

function isHdf5(start: string): boolean {
  return start.startsWith('\x89HDF\r\n');
}

/** A whole model has its configuration at the top, and the names of its layers in a group below. */
function isOfWeights(start: string): boolean {
  return start.includes('layer_names') && !start.includes('model_config');
}

/** Files of before PyTorch 1.6: two pickles, of which the first is a number. */
function isPickleOfTorch(path: string, start: string): boolean {
  return /\.(pt|pth)$/.test(path) || start.startsWith('\x80\x02\x8a\nl\xfc\x9cF\xf9');
}

/** The version of the format, and then the name of the program that wrote the file. */
function isOnnx(start: string): boolean {
  return start[0] === '\x08' && start[2] === '\x12' && ONNX_WRITERS.test(start.slice(4));
}
