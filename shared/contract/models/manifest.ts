/**
 * A model version as its `model.yaml` declares it: signature, batching, files, golden vectors and provenance.
 *
 * A `shape` never contains the batch dimension. manifest-check.ts checks the parts that must fit together.
 */

import { SAMPLE_RATES } from '../audio/sample-rates.js';
import type { JsonSchema, TypeOf } from '../schema.js';
import { DTYPES, type Dtype } from '../tensors/dtypes.js';
import { MODEL_NAME, VERSION_NUMBER } from './model-ref.js';
import { PATH } from './package-path.js';

/** Any text that can stand in a line of a log, but not the one name that an object of JavaScript cannot have as a plain field. */
const TENSOR_NAME = '^(?!__proto__$)[^\\u0000-\\u001f\\u007f]+$';

const tensorSpec = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'dtype', 'shape'],
  properties: {
    /** Callers use this name, such as `gender_pred/Sigmoid`. */
    name: { type: 'string', minLength: 1, maxLength: 256, pattern: TENSOR_NAME },
    /** The model's own name of the tensor, where that is another. */
    from: { type: 'string', minLength: 1, maxLength: 256 },
    /**
     * `image`: an encoded picture on the wire, float32 [height, width, channels] for the model. `audio`: an encoded sound on the
     * wire, float32 samples for the model.
     */
    dtype: { enum: [...DTYPES, 'image', 'audio'] },
    /** The tensor has no batch dimension: one value holds for all instances of a batch. */
    batch: { enum: ['shared'] },
    /** Per instance; null = any size up to the same place of `maxShape`. */
    shape: { type: 'array', maxItems: 6, items: { type: ['integer', 'null'], minimum: 1 } },
    maxShape: { type: 'array', maxItems: 6, items: { type: 'integer', minimum: 1 } },
    /** Other shapes with as many elements in which a caller may nest the same values. */
    accepts: { type: 'array', items: { type: 'array', items: { type: 'integer', minimum: 1 } } },
    /** Images only: the model has the channels last (`NHWC`) or first (`NCHW`). The `shape` has them last all the same. */
    layout: { enum: ['NHWC', 'NCHW'] },
    /** Images and sounds: the model takes pixel or sample × scale, and its output ÷ scale is a pixel. */
    scale: { type: 'number', exclusiveMinimum: 0 },
    /** Images only: width × height above which a file is refused before it is decoded; `maxPixelsOf` tells the default. */
    maxPixels: { type: 'integer', minimum: 1 },
    /** Sounds only: the samples a second that the model takes, in Hz. A sound at another rate is resampled. */
    sampleRate: { type: 'integer', minimum: SAMPLE_RATES.least, maximum: SAMPLE_RATES.most },
    /** Sounds only: the length above which a file is refused before it is decoded; DEFAULT_MAX_SECONDS where left out. */
    maxSeconds: { type: 'number', exclusiveMinimum: 0 },
    /** Strings that come in: the most bytes of each element. */
    maxBytes: { type: 'integer', minimum: 1 },
    /** Images and sounds that come in: the steps after decoding; the model takes (pixel × scale - mean) ÷ std. */
    preprocess: {
      type: 'object',
      additionalProperties: false,
      properties: {
        /** Resizes to the height and width of `shape`: stretched, cut at the edges, or with black edges. */
        resize: { enum: ['fill', 'cover', 'contain'] },
        /** The end of transparency: the colours stand as they are (`drop`, the default), or on white or black. */
        alpha: { enum: ['drop', 'white', 'black', 'refuse'] },
        /** One for each channel. */
        mean: { type: 'array', items: { type: 'number' } },
        std: { type: 'array', items: { type: 'number', exclusiveMinimum: 0 } },
        /** Sounds of a fixed number of samples: they have exactly that (the default), or silence fills up what is missing. */
        samples: { enum: ['exact', 'pad'] },
      },
    },
    /** One label for each element of the last dimension. */
    labels: { type: 'array', items: { type: 'string' } },
    /** Outputs with labels only: callers get the `topK` best labels with their scores, not the tensor. */
    postprocess: {
      type: 'object',
      additionalProperties: false,
      required: ['topK'],
      properties: { topK: { type: 'integer', minimum: 1 } },
    },
    /** Inputs with one size that varies: filled up with `value` to the next of `sizes`, the largest of which is the limit. */
    padding: {
      type: 'object',
      additionalProperties: false,
      required: ['sizes'],
      properties: {
        sizes: { type: 'array', minItems: 1, maxItems: 32, items: { type: 'integer', minimum: 1 } },
        value: { type: 'number' },
      },
    },
    /** Names the padded input whose mask this input is: 1 for each place, 0 for its padding. Callers do not send it. */
    maskOf: { type: 'string' },
    /** Names the padded input whose size this output has. Callers get the output without the padding. */
    unpad: { type: 'string' },
    description: { type: 'string' },
  },
} as const satisfies JsonSchema;

const signature = {
  type: 'object',
  additionalProperties: false,
  required: ['inputs', 'outputs'],
  properties: {
    inputs: { type: 'array', minItems: 1, items: tensorSpec },
    outputs: { type: 'array', minItems: 1, items: tensorSpec },
    /** The one batch size that the model takes; fewer instances are filled up to it. Any size where left out. */
    batchSize: { type: 'integer', minimum: 1, maximum: 4096 },
  },
} as const satisfies JsonSchema;

export const manifestSchema = {
  $id: 'sluice:model.yaml',
  type: 'object',
  additionalProperties: false,
  required: ['name', 'version', 'format', 'signature', 'batching', 'files'],
  properties: {
    name: { type: 'string', pattern: MODEL_NAME },
    version: VERSION_NUMBER,
    description: { type: 'string' },
    format: { enum: ['layers', 'graph', 'saved_model', 'onnx'] },
    signature,
    /** The name of `signature` in a SavedModel. Jobs that name none get it. */
    signatureName: { type: 'string', minLength: 1, maxLength: 256 },
    /** The other signatures of a SavedModel, by name. Jobs may name them. They are read from the model. */
    signatures: { type: 'object', additionalProperties: signature },
    batching: {
      type: 'object',
      additionalProperties: false,
      required: ['maxBatchSize', 'maxDelayMs'],
      properties: {
        /** In instances. */
        maxBatchSize: { type: 'integer', minimum: 1, maximum: 4096 },
        /** The longest time that the oldest task of a forming batch waits for others. */
        maxDelayMs: { type: 'number', minimum: 0, maximum: 10_000 },
        /** Bytes of input as callers send it. An instance that is larger runs alone. */
        maxBatchBytes: { type: 'integer', minimum: 1 },
        /** The most jobs of the model that may be queued when one for this version comes; the operator may allow fewer. */
        maxEnqueued: { type: 'integer', minimum: 1 },
        /** The only sizes that the backend gets. A batch is filled up to the next one with rows that nobody gets. */
        preferredSizes: {
          type: 'array',
          minItems: 1,
          maxItems: 32,
          items: { type: 'integer', minimum: 1 },
        },
        /** The worker measures which size and delay let 99 of 100 tasks take no longer than this. */
        targetP99Ms: { type: 'number', exclusiveMinimum: 0 },
        /** The model's tensors have no batch dimension at all: instances run one by one. */
        dimension: { enum: ['none'] },
        /**
         * Jobs share batches even where predictions depend on who shares the batch, or never do. Where left out, the warm-up
         * decides.
         */
        crossJob: { enum: ['allow', 'deny'] },
      },
    },
    /** Path inside the version's folder -> sha256 in hex; `ENTRY` of the format is among them. */
    files: {
      type: 'object',
      minProperties: 1,
      propertyNames: { pattern: PATH },
      additionalProperties: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    },
    /** File of golden vectors: {instances: [as a caller sends them], outputs: [{<name>: {b64: raw float32} or a value}]}. */
    golden: { type: 'string' },
    /** Set for weights that were quantised when they were uploaded. */
    quantization: {
      type: 'object',
      additionalProperties: false,
      required: ['dtype', 'tolerance', 'originalBytes'],
      properties: {
        dtype: { enum: ['float16', 'uint8'] },
        /** The tolerance of golden vectors, in the place of GOLDEN_TOLERANCE. */
        tolerance: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
        originalBytes: { type: 'integer', minimum: 0 },
      },
    },
    /**
     * The end of NaN and Infinity in outputs of numbers: the instance fails (`fail`, the default), or JSON shows null, or one
     * of the texts "NaN", "Infinity" and "-Infinity". YAML reads a bare `null` as nothing.
     */
    nonFinite: { enum: ['fail', 'null', 'string', null] },
    /** `allow`: the model may draw random numbers, so that equal inputs get unlike predictions. */
    stateful: { enum: ['allow'] },
    provenance: { type: 'object' },
  },
} as const satisfies JsonSchema;

/** The file of each format that names or holds all others. */
export const ENTRY = {
  layers: 'model.json',
  graph: 'model.json',
  saved_model: 'saved_model.pb',
  onnx: 'model.onnx',
} as const;

const ONNX_FILE = /^[^/]+\.onnx$/i;

/** Returns the entry file among the paths of a version; null without one. An ONNX file that is alone may have any name. */
export function entryOf(format: Manifest['format'], paths: readonly string[]): string | null {
  const entry = ENTRY[format];
  if (paths.includes(entry)) return entry;
  const [own, ...others] = format === 'onnx' ? paths.filter((path) => ONNX_FILE.test(path)) : [];
  return own !== undefined && others.length === 0 ? own : null;
}

export type Manifest = TypeOf<typeof manifestSchema>;
export type TensorSpec = Manifest['signature']['inputs'][number];
export type Signature = Manifest['signature'];

export type Quantization = NonNullable<Manifest['quantization']>;

/**
 * Golden vectors as the file holds them: instances as callers send them, and what the model computes: raw float32, or values in the
 * form of inputs.
 */
export interface Golden {
  instances: unknown[];
  outputs: Record<string, unknown>[];
}

/** A version as its folder holds it. */
export interface VersionFiles {
  manifest: Manifest;
  /** The size of all files together. */
  sizeBytes: number;
}

/** Returns how to treat NaN and Infinity in an output. A picture or a ranking has no place for them. */
export function nonFiniteOf(
  { nonFinite = 'fail' }: Pick<Manifest, 'nonFinite'>,
  { dtype, postprocess }: TensorSpec,
): 'fail' | 'null' | 'string' {
  return dtype === 'image' || postprocess ? 'fail' : (nonFinite ?? 'null');
}

/**
 * Returns the version as its signature `name` has it: the one for jobs that name none, or another of a SavedModel. Null where
 * there is none of this name.
 */
export function withSignature(manifest: Manifest, name: string | undefined): Manifest | null {
  if (name === undefined || name === nameOfSignature(manifest)) return manifest;
  const { signatures = {} } = manifest;
  const signature = Object.hasOwn(signatures, name) ? signatures[name] : undefined;
  return signature ? { ...manifest, signature, signatureName: name } : null;
}

/** Returns the name of the signature that jobs get which name none. */
export function nameOfSignature({ signatureName = DEFAULT_SIGNATURE }: Manifest): string {
  return signatureName;
}

/** Returns the names of all signatures of a version that jobs may name. */
export function signatureNames(manifest: Manifest): string[] {
  return [nameOfSignature(manifest), ...Object.keys(manifest.signatures ?? {})];
}

/** Tells whether the tensor of a whole batch has a row for each instance. */
export function hasRows({ batching }: Pick<Manifest, 'batching'>, { batch }: TensorSpec): boolean {
  return batching.dimension !== 'none' && batch !== 'shared';
}

/**
 * Returns a shape as the model has it, without the batch; `shape` is as callers see it. They differ for a picture of a model
 * that has the channels first.
 */
export function modelShape<Size extends number | null>(
  { layout }: Pick<TensorSpec, 'layout'>,
  shape: readonly Size[],
): readonly Size[] {
  return layout === 'NCHW' ? [...shape.slice(2), ...shape.slice(0, 2)] : shape;
}

/** The signature of a SavedModel that is served where nothing names another. */
export const DEFAULT_SIGNATURE = 'serving_default';

/** Returns the dtype that a tensor has in the model. */
export function modelDtype({ dtype }: Pick<TensorSpec, 'dtype'>): Dtype {
  return dtype === 'image' || dtype === 'audio' ? 'float32' : dtype;
}

/** Returns the inputs that callers send. Masks are made from these. */
export function sentInputs({ inputs }: Signature): TensorSpec[] {
  return inputs.filter(({ maskOf }) => maskOf === undefined);
}
