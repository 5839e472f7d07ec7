/**
 * The words of the reference of model.yaml: what each field of the schema means, what it is where it is left out, and an example.
 *
 * A path is that of the schema: `[]` stands for an element, `*` for a name that the writer chooses. Outputs have the fields of
 * inputs. test/unit/manifest-reference.test.ts compares the paths with the schema, and each example with its field.
 */

export interface FieldText {
  meaning: string;
  /** Markdown; what holds where the field is left out. */
  otherwise: string;
  example: unknown;
}

const NONE = 'none';
const field = (meaning: string, otherwise: string, example: unknown): FieldText => ({
  meaning,
  otherwise,
  example,
});

export const MANIFEST_FIELDS: Readonly<Record<string, FieldText>> = {
  name: field('The name of the model. It must be that of the place.', 'that of the place', 'digits'),
  version: field(
    'The number of the version, dates and times too.',
    'the next one, or that of the folder',
    202011032114,
  ),
  description: field('What the model does, for people.', NONE, 'Reads a handwritten digit.'),
  format: field(
    'Who runs the model: tfjs runs layers and graphs, TensorFlow a SavedModel, ONNX Runtime an ONNX file.',
    'read from the files',
    'layers',
  ),
  signature: field(
    'The tensors that go in and out. It says what is to be otherwise than in the model.',
    'read from a SavedModel, an ONNX file, or a graph with a signature',
    {
      inputs: [{ name: 'image', dtype: 'float32', shape: [784] }],
      outputs: [{ name: 'probabilities', dtype: 'float32', shape: [10] }],
    },
  ),
  'signature.inputs': field('What callers send.', 'those of the model', [
    { name: 'image', dtype: 'float32', shape: [784] },
  ]),
  'signature.outputs': field(
    'What callers get. Outputs that are not listed are not computed.',
    'those of the model',
    [{ name: 'probabilities', dtype: 'float32', shape: [10] }],
  ),
  'signature.inputs[].name': field('Callers use this name.', 'required', 'image'),
  'signature.inputs[].from': field(
    'The name of the tensor in the model, where callers use another.',
    '`name`',
    'gender_pred/Sigmoid',
  ),
  'signature.inputs[].dtype': field(
    'The type on the wire. `image` is an encoded picture, and float32 [height, width, channels] for the model. `audio` is an encoded sound, and float32 samples.',
    'required',
    'float32',
  ),
  'signature.inputs[].batch': field(
    'The tensor has no batch dimension: one value holds for all instances of a batch.',
    'the first dimension is the batch',
    'shared',
  ),
  'signature.inputs[].shape': field(
    'The size of one instance, without the batch; null is any size.',
    'required',
    [null, 64],
  ),
  'signature.inputs[].maxShape': field('The largest size where `shape` has null.', 'no bound', [512, 64]),
  'signature.inputs[].accepts': field(
    'Other shapes with as many elements in which callers may nest the same values.',
    NONE,
    [[28, 28]],
  ),
  'signature.inputs[].scale': field(
    'Pictures and sounds: the model takes pixel or sample × scale, and its output ÷ scale is a pixel.',
    '1',
    0.00392156862745098,
  ),
  'signature.inputs[].maxPixels': field(
    'Pictures: width × height above which a file is refused before it is decoded.',
    'those of `shape` or `maxShape`, else 16777216',
    1048576,
  ),
  'signature.inputs[].sampleRate': field(
    'Sounds: the samples a second that the model takes. A sound at another rate is resampled.',
    'required for sounds',
    16000,
  ),
  'signature.inputs[].maxSeconds': field(
    'Sounds: the length above which a file is refused before it is decoded.',
    '300',
    30,
  ),
  'signature.inputs[].maxBytes': field(
    'Strings that come in: the most bytes of each.',
    'the largest body, `SLUICE_MAX_BODY_BYTES`',
    1000000,
  ),
  'signature.inputs[].layout': field(
    'Pictures: the model has the channels last or first. `shape` is [height, width, channels] all the same.',
    '`NCHW` where the model has 1 or 3 channels first, else `NHWC`',
    'NCHW',
  ),
  'signature.inputs[].preprocess': field(
    'Pictures and sounds that come in: how they become what the model takes.',
    NONE,
    { resize: 'contain' },
  ),
  'signature.inputs[].preprocess.resize': field(
    'Makes the picture as large as `shape`: stretched, cut at the edges, or with black edges. `shape` must hold height and width.',
    'pictures must have the size',
    'cover',
  ),
  'signature.inputs[].preprocess.samples': field(
    'Sounds, where `shape` holds the number of samples: they have exactly that, or silence fills up what is missing.',
    '`exact`',
    'pad',
  ),
  'signature.inputs[].preprocess.mean': field('One number for each channel.', '0', [0.485, 0.456, 0.406]),
  'signature.inputs[].preprocess.std': field('One number for each channel.', '1', [0.229, 0.224, 0.225]),
  'signature.inputs[].preprocess.alpha': field(
    'What becomes of transparency: dropped, laid on white or on black, or the picture is refused.',
    '`drop`',
    'white',
  ),
  'signature.inputs[].labels': field('One label for each element of the last dimension.', NONE, [
    'cat',
    'dog',
  ]),
  'signature.inputs[].postprocess': field(
    'Outputs with labels: callers get the best labels with their scores, not the tensor.',
    'the tensor',
    { topK: 5 },
  ),
  'signature.inputs[].postprocess.topK': field('How many labels callers get.', 'required', 5),
  'signature.inputs[].padding': field(
    'Inputs with one size that varies: filled up to the next of `sizes`, so that instances share batches.',
    'only equal sizes share batches',
    { sizes: [32, 128, 512] },
  ),
  'signature.inputs[].padding.sizes': field('They grow; the last is the limit.', 'required', [32, 128, 512]),
  'signature.inputs[].padding.value': field('The value that fills up.', '0', -1),
  'signature.inputs[].maskOf': field(
    'Sluice makes this input: 1 for each place of the padded input of this name, 0 for its padding.',
    'callers send the input',
    'tokens',
  ),
  'signature.inputs[].unpad': field(
    'Outputs: the padded input whose size this output has. Callers get the output without the padding.',
    'callers get the padding, too',
    'tokens',
  ),
  'signature.inputs[].description': field('What the tensor is, for people.', NONE, 'Grey pixels, 0 to 1.'),
  'signature.batchSize': field(
    'The one batch size that the model takes; fewer instances are filled up to it.',
    'read from the model, else any size',
    4,
  ),
  signatureName: field(
    'Which signature of a SavedModel serves jobs that name none.',
    '`serving_default`, else the only one',
    'encode',
  ),
  signatures: field(
    'The other signatures of a SavedModel, by name; jobs may name them.',
    'read from the model',
    {
      decode: {
        inputs: [{ name: 'code', dtype: 'float32', shape: [16] }],
        outputs: [{ name: 'image', dtype: 'float32', shape: [784] }],
      },
    },
  ),
  stateful: field(
    '`allow`: the model may draw random numbers, so that equal inputs get unlike predictions.',
    'such a model is refused',
    'allow',
  ),
  nonFinite: field(
    'What becomes of NaN and Infinity in outputs: the instance fails, or JSON shows null, or a text such as "NaN".',
    '`fail`',
    'string',
  ),
  batching: field('How instances are computed together.', 'the defaults of its fields', {
    maxBatchSize: 32,
    maxDelayMs: 5,
  }),
  'batching.maxBatchSize': field('Most instances in a batch.', '32', 64),
  'batching.maxDelayMs': field('Longest that the oldest instance of a batch waits for company.', '5', 10),
  'batching.maxBatchBytes': field(
    'Most input of a batch, as callers send it. A larger instance runs alone.',
    'no bound',
    8388608,
  ),
  'batching.maxEnqueued': field(
    'Most jobs of the model that wait. The operator may allow fewer.',
    'the bound of the operator',
    1000,
  ),
  'batching.preferredSizes': field(
    'The only sizes that the backend gets; rows that nobody gets fill a batch up. The last is `maxBatchSize`.',
    'any size',
    [1, 8, 32],
  ),
  'batching.targetP99Ms': field(
    'Size and delay are found by measurement, so that 99 of 100 tasks take no longer.',
    'size and delay are as stated',
    100,
  ),
  'batching.dimension': field(
    'The tensors of the model have no batch dimension at all: instances run one by one.',
    'the first dimension is the batch',
    'none',
  ),
  'batching.crossJob': field(
    'Jobs share batches even where predictions depend on who shares one, or never do.',
    'the warm-up decides',
    'allow',
  ),
  files: field('The files of the version, and none besides.', 'all files of the folder', {
    'model.json': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  }),
  'files.*': field(
    'The SHA-256 of a file, in hex.',
    'computed',
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  ),
  golden: field(
    'A file of golden vectors, `{instances, outputs: [{<name>: {b64}}]}`: raw float32, or values in the form of inputs, which are exact. A version that computes something else never serves.',
    'the version is warmed up with zeros',
    'golden.json',
  ),
  quantization: field('Set by an upload with `?quantize=`.', 'weights are as uploaded', {
    dtype: 'float16',
    tolerance: 0.01,
    originalBytes: 814120,
  }),
  'quantization.dtype': field('What the weights are kept as.', 'required', 'float16'),
  'quantization.tolerance': field('Largest change of golden vectors.', 'required', 0.01),
  'quantization.originalBytes': field('The bytes of the files before.', 'required', 814120),
  provenance: field('Anything else that is worth keeping: data, accuracy, licence.', NONE, {
    licence: 'MIT',
  }),
};
