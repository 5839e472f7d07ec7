/**
 * The signature of a version: what its model declares, whichever format that has, joined with what its model.yaml says.
 */
import { messageOf } from '../base/errors.js';
import type { Fault } from '../contract/errors.js';
import {
  DEFAULT_SIGNATURE,
  entryOf,
  type Manifest,
  type Signature,
  type TensorSpec,
} from '../contract/models/manifest.js';
import { checkSaidSignature, NOT_OF_TFJS } from '../contract/models/manifest-check.js';
import { type Dtype, isFloat } from '../contract/tensors/dtypes.js';
import {
  type CompletedSignature,
  type CompleteOptions,
  completeSignature,
  type SaidSignature,
} from './complete-signature.js';
import { type InspectedOnnx, inspectOnnx } from './onnx/signature.js';
import { type Port, type Ports, portOf, textOf } from './ports.js';
import { inspectSavedModel } from './saved-model/signature.js';
import { readTfjsPorts, type TfjsPorts } from './tfjs-ports.js';

export interface CompletedManifest {
  completed: Partial<Manifest>;
  /** Paths are JSON Pointers into model.yaml. */
  faults: Fault[];
  ofModel: string[];
  /** This is said where the signature is missing. */
  lacking?: string | undefined;
}

/** The longest that the oldest task of a batch waits, in a version that states nothing. */
const MAX_DELAY_MS = 5;
const MAX_BATCH_SIZE = 32;

/** Returns the manifest with the signature and the batching that its model tells, and everything that does not fit. */
export async function completeByModel(folder: string, said: Partial<Manifest>): Promise<CompletedManifest> {
  const faults: Fault[] = [];
  if (said.signatures !== undefined)
    faults.push({ path: '/signatures', message: 'is read from the model; `signatureName` chooses one' });
  faults.push(...checkSaidSignature(said.signature));
  if (faults.length > 0) return { completed: said, faults, ofModel: [] };
  const { signatures: _, ...rest } = said;
  const isUnbatched = said.batching?.dimension === 'none';
  if (said.format === 'saved_model') return completeSavedModel(folder, rest, isUnbatched, faults);
  if (said.signatureName !== undefined)
    faults.push({ path: '/signatureName', message: 'is for SavedModels; this format has one signature' });
  if (said.format === 'onnx') return completeOnnx(folder, rest, isUnbatched, faults);
  const ports = await readTfjsPorts(folder, said.format);
  const isTold = ports !== null && (ports.outputs !== null || isObject(said.signature));
  const { format } = said;
  const completed = isTold && format ? completeTfjs(ports, saidSignature(said), format, isUnbatched) : null;
  if (completed) faults.push(...completed.faults);
  const signature = completed?.signature ?? said.signature;
  const batched = withBatching(rest, signature, completed?.isUnbatched ?? isUnbatched);
  const lacking = ports && !signature ? noOutputs(ports.inputs) : undefined;
  return { completed: { ...batched, ...(signature && { signature }) }, faults, ofModel: [], lacking };
}

async function completeSavedModel(
  folder: string,
  said: Partial<Manifest>,
  isUnbatched: boolean,
  faults: Fault[],
): Promise<CompletedManifest> {
  const inspected = await inspectSavedModel(folder, said).catch((error: unknown) => ({
    signatureName: null,
    signatures: new Map<string, Ports>(),
    faults: [messageOf(error)],
  }));
  const { signatureName, signatures } = inspected;
  const complete = (ports: Ports, by: SaidSignature) =>
    completeSignature(ports, by, { isUnbatched, dtypeFault, noForm: 'for which there is no form here' });
  const ports = signatures.get(signatureName ?? '');
  if (!ports || signatureName === null) return { completed: said, faults, ofModel: inspected.faults };
  const own = complete(ports, saidSignature(said));
  faults.push(...own.faults);
  const others = [...signatures]
    .filter(([name]) => name !== signatureName)
    .map(([name, each]): [string, CompletedSignature] => [name, complete(each, {})])
    // A signature that cannot be served is left out; nobody has asked for it.
    .filter(([, each]) => each.faults.length === 0 && each.isUnbatched === own.isUnbatched)
    .filter(([, { signature }]) => signature.inputs.length > 0 && signature.outputs.length > 0)
    .map(([name, { signature }]) => [name, signature] as const);
  const completed = {
    ...withBatching(said, own.signature, own.isUnbatched),
    signature: own.signature,
    // A model with one signature under the usual name has nothing to tell.
    ...((others.length > 0 || signatureName !== DEFAULT_SIGNATURE) && { signatureName }),
    ...(others.length > 0 && { signatures: Object.fromEntries(others) }),
  };
  return { completed, faults, ofModel: inspected.faults };
}

function completeOnnx(
  folder: string,
  said: Partial<Manifest>,
  isUnbatched: boolean,
  faults: Fault[],
): CompletedManifest {
  const entry = entryOf('onnx', Object.keys(said.files ?? {}));
  if (entry === null) return { completed: said, faults, ofModel: [] };
  let inspected: InspectedOnnx;
  try {
    inspected = inspectOnnx(folder, entry, said);
  } catch (error) {
    return { completed: said, faults, ofModel: [messageOf(error)] };
  }
  const own = completeSignature(inspected, saidSignature(said), {
    isUnbatched,
    dtypeFault,
    noForm: 'for which there is no form here',
  });
  const completed = { ...withBatching(said, own.signature, own.isUnbatched), signature: own.signature };
  return { completed, faults: [...faults, ...own.faults], ofModel: inspected.faults };
}

function noOutputs(inputs: readonly Port[]): string {
  const told = inputs.map(({ name, type, shape }) => `${name} ${type} ${textOf(shape)}`).join(', ');
  const outputs = 'outputs: [{name: …, dtype: float32, shape: […]}]';
  return `is required: model.json tells its inputs (${told}) and no shape of its outputs; write \`signature: {${outputs}}\``;
}

/** The backend compares the types, but those of sounds; where model.json tells no outputs, the model.yaml must. */
function completeTfjs(
  { inputs, outputs }: TfjsPorts,
  said: SaidSignature,
  format: Manifest['format'],
  isUnbatched: boolean,
): CompletedSignature {
  const ofSounds: CompleteOptions['dtypeFault'] = (said, own) =>
    said.dtype === 'audio' ? dtypeFault(said, own) : null;
  const options = { isUnbatched, dtypeFault: ofSounds, noForm: NOT_OF_TFJS };
  const named = (ports: readonly Port[], kind: 'inputs' | 'outputs') =>
    namedAsSaid(ports, said[kind], format === 'layers');
  if (outputs)
    return completeSignature(
      { inputs: named(inputs, 'inputs'), outputs: named(outputs, 'outputs') },
      said,
      options,
    );
  const { signature, ...rest } = completeSignature(
    { inputs: named(inputs, 'inputs'), outputs: [] },
    { ...said, outputs: [] },
    options,
  );
  return { ...rest, signature: { ...signature, outputs: said.outputs as TensorSpec[] } };
}

/** Gives ports that may be paired by their order the names of the model.yaml, too. */
function namedAsSaid(
  ports: readonly Port[],
  said: readonly Partial<TensorSpec>[] | undefined,
  byOrder: boolean,
): readonly Port[] {
  const isNamed = said?.some((spec) => portOf(ports, spec)) ?? true;
  if (!said || isNamed || said.length !== ports.length || (ports.length > 1 && !byOrder)) return ports;
  return ports.map((port, index) => {
    const { name = '', from = name } = said[index] ?? {};
    return { ...port, aliases: [...(port.aliases ?? []), from] };
  });
}

function saidSignature({ signature }: Partial<Manifest>): SaidSignature {
  return isObject(signature) ? (signature as SaidSignature) : {};
}

function withBatching(
  said: Partial<Manifest>,
  signature: Signature | undefined,
  isUnbatched: boolean,
): Partial<Manifest> {
  if (said.batching !== undefined && !isObject(said.batching)) return said;
  const size = signature?.batchSize;
  const sizes =
    size === undefined || isUnbatched
      ? { maxBatchSize: isUnbatched ? 1 : MAX_BATCH_SIZE }
      : { maxBatchSize: size, ...(size > 1 && { preferredSizes: [size] }) };
  const batching = {
    ...sizes,
    maxDelayMs: MAX_DELAY_MS,
    ...said.batching,
    ...(isUnbatched && { dimension: 'none' as const }),
  };
  return { ...said, batching };
}

/** A model.yaml may give these types a narrower dtype. A number that it does not hold fails its instance. */
const NARROWED: Partial<Record<Dtype, Dtype>> = { int64: 'int32', float64: 'float32', bool: 'uint8' };
/** These types cannot hold a pixel from 0 to 255. */
const NO_PIXELS: ReadonlySet<string> = new Set(['bool', 'string', 'int8']);

function dtypeFault({ dtype, scale = 1, preprocess }: Partial<TensorSpec>, own: Port): string | null {
  const isNarrowed = own.dtype !== null && NARROWED[own.dtype] === dtype;
  if (dtype === 'audio')
    return isFloat(own.dtype ?? '')
      ? null
      : `is audio, which is given as floats; the model has ${own.type}: give its samples as numbers by leaving \`dtype\` out, or export a model that casts float32 itself`;
  if (dtype !== 'image')
    return dtype === own.dtype || isNarrowed ? null : `is ${dtype}; the model has ${own.type}`;
  const rank = own.shape?.length;
  if (NO_PIXELS.has(own.type) || (rank !== 4 && rank !== 3))
    return `is image, which has height, width and channels; the model has ${own.type} ${textOf(own.shape)}`;
  // A scaled pixel is a fraction, which an integer input cannot hold.
  const isWhole = scale === 1 && !preprocess?.mean && !preprocess?.std;
  return isFloat(own.dtype ?? '') || isWhole
    ? null
    : `is image with scale, mean or std; the model has ${own.type}, which takes pixels as they are`;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
