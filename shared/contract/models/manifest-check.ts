/**
 * Checking a manifest: first each part by its schema, then the parts that must fit together.
 */
import type { Fault } from '../errors.js';
import { compileThorough } from '../schema.js';
import { audioAxes, MAX_CHANNELS } from '../tensors/audio-input.js';
import { isFloat, isTfjsDtype } from '../tensors/dtypes.js';
import {
  ENTRY,
  entryOf,
  type Manifest,
  manifestSchema,
  modelDtype,
  type Signature,
  type TensorSpec,
} from './manifest.js';

/** Says why a type that only SavedModels have is refused for a model of TensorFlow.js. */
export const NOT_OF_TFJS =
  'which TensorFlow.js does not compute; export the model as a SavedModel, which may have it';

const checkSchema = compileThorough(manifestSchema);

const signatureSchema = manifestSchema.properties.signature;
const { inputs, outputs } = signatureSchema.properties;
const saidTensor = { ...inputs.items, required: [] };
const checkPart = compileThorough({
  ...signatureSchema,
  required: [],
  properties: {
    ...signatureSchema.properties,
    inputs: { type: 'array', items: saidTensor },
    outputs: { ...outputs, items: saidTensor },
  },
});

/** Returns the faults of the part of a signature that a model.yaml states; the model may tell what is missing. */
export function checkSaidSignature(value: unknown): Fault[] {
  if (value === undefined) return [];
  return checkPart(value).map((fault) => ({ ...fault, path: `/signature${fault.path}` }));
}

/** Returns every fault of a manifest, each with a JSON Pointer into it; none when it is valid. */
export function checkManifest(value: unknown): Fault[] {
  const faults = checkSchema(value);
  if (faults.length > 0) return faults;
  const manifest = value as Manifest;
  const { format, files, signature } = manifest;
  if (entryOf(format, Object.keys(files)) === null)
    faults.push({ path: `/files/${ENTRY[format]}`, message: 'is required' });
  if (manifest.stateful && format === 'layers')
    faults.push({ path: '/stateful', message: 'is for SavedModels, graph models and ONNX files' });
  faults.push(...batchingFaults(manifest));
  for (const kind of ['inputs', 'outputs'] as const) {
    faults.push(...repeated(signature[kind], `/signature/${kind}`));
    for (const [index, spec] of signature[kind].entries()) {
      const found = [
        postprocessFault(spec, kind),
        imageFault(spec),
        audioFault(spec, kind),
        preprocessFault(spec, kind),
        paddingFault(spec, kind, signature),
        sharedFault(spec),
        stringFault(spec, kind),
        formatFault(spec, format),
      ];
      for (const fault of found)
        if (fault) faults.push({ ...fault, path: `/signature/${kind}/${index}/${fault.path}` });
    }
  }
  return faults;
}

/** A picture is decoded to grey or to red, green and blue; transparency never reaches a model. */
function imageFault({ dtype, shape, layout }: TensorSpec): Fault | null {
  if (dtype !== 'image') return layout ? { path: 'layout', message: 'is for pictures' } : null;
  const message = 'needs height, width, and 1 or 3 channels: a picture comes as grey or as RGB';
  return shape.length === 3 && [1, 3, null].includes(shape[2] as number | null)
    ? null
    : { path: 'shape', message };
}

/** A sound is decoded to samples; what comes out of a model is numbers. */
function audioFault(
  { dtype, shape, sampleRate, maxSeconds, preprocess }: TensorSpec,
  kind: keyof Signature,
): Fault | null {
  if (dtype !== 'audio') {
    if (sampleRate !== undefined) return { path: 'sampleRate', message: 'is for sounds' };
    return maxSeconds === undefined ? null : { path: 'maxSeconds', message: 'is for sounds' };
  }
  if (kind === 'outputs') return { path: 'dtype', message: 'is audio, which is for inputs' };
  if (sampleRate === undefined)
    return {
      path: 'sampleRate',
      message: 'is required: the samples a second that the model takes, such as 16000',
    };
  const axes = audioAxes(shape);
  if (!axes)
    return {
      path: 'shape',
      message: `needs the samples, and beside them at most 1 to ${MAX_CHANNELS} channels: [samples], [samples, channels] or [channels, samples]${shape.length === 0 ? '; a model whose only dimension is the samples needs `batching: {dimension: none}`' : ''}`,
    };
  return preprocess?.samples && shape[axes.samples] === null
    ? {
        path: 'preprocess/samples',
        message: 'needs a shape with a number of samples; `padding` is for lengths that vary',
      }
    : null;
}

function preprocessFault({ dtype, shape, preprocess }: TensorSpec, kind: keyof Signature): Fault | null {
  if (!preprocess) return null;
  const { resize, mean, std, samples } = preprocess;
  if (kind === 'outputs' || (dtype !== 'image' && dtype !== 'audio'))
    return { path: 'preprocess', message: 'is for images and sounds that come in' };
  if (dtype === 'audio') {
    const foreign = Object.keys(preprocess).find((step) => step !== 'samples');
    return foreign === undefined ? null : { path: `preprocess/${foreign}`, message: 'is for images' };
  }
  if (samples) return { path: 'preprocess/samples', message: 'is for sounds' };
  if (resize && (typeof shape[0] !== 'number' || typeof shape[1] !== 'number'))
    return { path: 'preprocess/resize', message: 'needs a shape with height and width' };
  for (const [name, values] of Object.entries({ mean, std }))
    if (values && values.length !== shape[2])
      return { path: `preprocess/${name}`, message: `needs ${shape[2]} numbers` };
  return null;
}

function paddingFault(spec: TensorSpec, kind: keyof Signature, { inputs }: Signature): Fault | null {
  const { dtype, shape, padding, maskOf, unpad } = spec;
  const isVarying = dtype !== 'image' && shape.filter((size) => size === null).length === 1;
  const isPadded = (name: string) => inputs.some((each) => each.name === name && each.padding);
  const forInputs = { message: 'is for inputs' };
  if (padding && kind === 'outputs') return { path: 'padding', ...forInputs };
  if (maskOf !== undefined && kind === 'outputs') return { path: 'maskOf', ...forInputs };
  if (unpad !== undefined && kind === 'inputs') return { path: 'unpad', message: 'is for outputs' };
  if (padding && !isVarying) return { path: 'padding', message: 'needs one size that varies' };
  if (padding && !isGrowing(padding.sizes)) return { path: 'padding/sizes', message: 'must grow' };
  if (
    maskOf !== undefined &&
    (!isPadded(maskOf) ||
      dtype === 'image' ||
      dtype === 'audio' ||
      dtype === 'string' ||
      shape.length !== 1 ||
      shape[0] !== null)
  )
    return { path: 'maskOf', message: 'needs numbers, the shape [null] and the name of a padded input' };
  if (unpad !== undefined && (!isPadded(unpad) || !isVarying))
    return { path: 'unpad', message: 'needs one size that varies and the name of a padded input' };
  return null;
}

function postprocessFault(
  { dtype, shape, labels, postprocess }: TensorSpec,
  kind: keyof Signature,
): Fault | null {
  if (!postprocess) return null;
  const fault = (message: string) => ({ path: 'postprocess', message });
  if (kind === 'inputs') return fault('is for outputs');
  const [size] = shape;
  if (!isFloat(dtype) || shape.length !== 1 || typeof size !== 'number')
    return fault('needs float32 or float64 scores in one dimension');
  if (labels?.length !== size) return fault(`needs ${size} labels`);
  if (postprocess.topK > size) return fault(`topK must be at most ${size}`);
  return null;
}

function sharedFault({ batch, dtype, padding, unpad, maskOf }: TensorSpec): Fault | null {
  if (
    batch === undefined ||
    !(dtype === 'image' || dtype === 'audio' || padding || unpad !== undefined || maskOf !== undefined)
  )
    return null;
  return {
    path: 'batch',
    message: 'is for values of a fixed size, neither pictures, sounds nor padded ones',
  };
}

function stringFault({ dtype, maxBytes, padding }: TensorSpec, kind: keyof Signature): Fault | null {
  if (maxBytes !== undefined && (dtype !== 'string' || kind === 'outputs'))
    return { path: 'maxBytes', message: 'is for strings that come in' };
  if (dtype === 'string' && padding?.value !== undefined)
    return { path: 'padding/value', message: 'is for numbers; strings are padded by empty ones' };
  return null;
}

function formatFault({ dtype }: TensorSpec, format: Manifest['format']): Fault | null {
  const isOfTfjs = format === 'layers' || format === 'graph';
  if (!isOfTfjs || isTfjsDtype(modelDtype({ dtype }))) return null;
  return { path: 'dtype', message: `is ${dtype}, ${NOT_OF_TFJS}` };
}

function repeated(specs: readonly TensorSpec[], path: string): Fault[] {
  const names = specs.map(({ name }) => name);
  return [...names.entries()]
    .filter(([index, name]) => names.indexOf(name) < index)
    .map(([index]) => ({ path: `${path}/${index}/name`, message: 'is the name of another tensor, too' }));
}

function batchingFaults({ batching, signature: { batchSize } }: Manifest): Fault[] {
  const { maxBatchSize, preferredSizes, dimension } = batching;
  const faults: Fault[] = [];
  if (dimension === 'none' && maxBatchSize !== 1)
    faults.push({
      path: '/batching/maxBatchSize',
      message: 'must be 1, because the model has no batch dimension',
    });
  if (batchSize !== undefined && dimension !== 'none' && maxBatchSize !== batchSize)
    return [
      {
        path: '/batching/maxBatchSize',
        message: `must be ${batchSize}: the model takes batches of exactly this size`,
      },
    ];
  if (!preferredSizes) return faults;
  const path = '/batching/preferredSizes';
  if (!isGrowing(preferredSizes)) faults.push({ path, message: 'must grow' });
  if (preferredSizes.at(-1) !== maxBatchSize)
    faults.push({ path, message: `must end with maxBatchSize, ${maxBatchSize}` });
  return faults;
}

function isGrowing(sizes: readonly number[]): boolean {
  return sizes.every((size, i) => size > (sizes[i - 1] ?? 0));
}
