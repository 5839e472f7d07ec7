/**
 * Completing a signature: the tensors that a model declares (ports.ts), and what its model.yaml says of them.
 *
 * A model.yaml may say less than a signature, and other names; the rest is the model's. What it says must fit the model. The
 * first dimension of a tensor is the batch, unless the model or the model.yaml shows that it is none (decisions.md, SHR-43).
 */
import type { Fault } from '../contract/errors.js';
import type { Signature, TensorSpec } from '../contract/models/manifest.js';
import { hasChannelsFirst, type ModelBatch, modelBatch, type Paired, shapeOf } from './port-shapes.js';
import { type Port, type Ports, portOf, textOf } from './ports.js';

/** A signature as a model.yaml may state it. */
export interface SaidSignature {
  inputs?: readonly Partial<TensorSpec>[];
  outputs?: readonly Partial<TensorSpec>[];
  batchSize?: number;
}

export interface CompleteOptions {
  /** The model.yaml says that there is no batch dimension. */
  isUnbatched: boolean;
  /** Returns why a model.yaml may not give a tensor this dtype; null where it may. */
  dtypeFault(said: Partial<TensorSpec>, own: Port): string | null;
  /** Says why a tensor of another type cannot be served. */
  noForm: string;
}

export interface CompletedSignature {
  signature: Signature;
  /** No tensor that goes in has a batch dimension. */
  isUnbatched: boolean;
  /** Paths are JSON Pointers into model.yaml. */
  faults: Fault[];
}

type Kind = 'inputs' | 'outputs';

/** Returns the signature of a model with what its model.yaml says of it, and what does not fit. */
export function completeSignature(
  ports: Ports,
  said: SaidSignature,
  options: CompleteOptions,
): CompletedSignature {
  const faults: Fault[] = [];
  const inputs = pairsOf('inputs', ports.inputs, said.inputs ?? [], faults);
  for (const port of ports.inputs)
    if (!inputs.some((pair) => pair.port === port))
      inputs.push({ port, said: {}, path: '/signature/inputs' });
  const outputs = said.outputs
    ? pairsOf('outputs', ports.outputs, said.outputs, faults)
    : ports.outputs.map((port) => ({ port, said: {}, path: '/signature/outputs' }));
  const batch = modelBatch(inputs, options.isUnbatched, said.batchSize);
  if (batch.fault) faults.push(batch.fault);
  const specsOf = (kind: Kind, pairs: readonly Paired[]) =>
    pairs.map((pair) => specOf(kind, pair, batch, options, faults));
  const signature = {
    inputs: specsOf('inputs', inputs),
    outputs: specsOf('outputs', outputs),
    ...(batch.size !== null && { batchSize: batch.size }),
  };
  return { signature, isUnbatched: batch.isNone, faults };
}

/** Pairs what is said with the ports of those names; only one that is alone may have any name. */
function pairsOf(
  kind: Kind,
  ports: readonly Port[],
  said: readonly Partial<TensorSpec>[],
  faults: Fault[],
): Paired[] {
  return said.flatMap((each, index): Paired[] => {
    const path = `/signature/${kind}/${index}`;
    const port = portOf(ports, each);
    if (port) return [{ port, said: each, path }];
    const has = ports.map(({ name, shape, type }) => `${name} ${type} ${textOf(shape)}`).join(', ');
    const field = each.from === undefined ? 'name' : 'from';
    faults.push({
      path: `${path}/${field}`,
      message: `is none of the model's ${kind}: ${has}; \`from\` gives the model's own name of one that is renamed`,
    });
    return [];
  });
}

function specOf(
  kind: Kind,
  { port, said, path }: Paired,
  batch: ModelBatch,
  { dtypeFault, noForm }: CompleteOptions,
  faults: Fault[],
): TensorSpec {
  const { shape: own, isShared } = shapeOf(kind, { port, said, path }, batch);
  // A shape that model.yaml alone tells is that of callers.
  const isChannelsFirst = own !== null && port.shape !== null && hasChannelsFirst(said, own);
  const shape = isChannelsFirst ? [...own.slice(1), ...own.slice(0, 1)] : own;
  const ofDtype = said.dtype === undefined ? null : dtypeFault(said, port);
  if (!port.dtype) faults.push({ path, message: unusable(kind, port, noForm) });
  else if (ofDtype !== null) faults.push({ path: `${path}/dtype`, message: ofDtype });
  if (!shape)
    faults.push({ path, message: `${port.name} has no known rank: state its \`shape\` in model.yaml` });
  else if (said.shape && !mayBeShaped(said.shape, shape))
    faults.push({
      path: `${path}/shape`,
      message: `is ${textOf(said.shape)}; the model has ${textOf(shape)}`,
    });
  return {
    name: port.name,
    dtype: port.dtype ?? 'float32',
    shape: shape ?? [],
    ...(isShared && { batch: 'shared' }),
    ...(isChannelsFirst && { layout: 'NCHW' as const }),
    ...said,
  };
}

function unusable(kind: Kind, { name, type }: Port, noForm: string): string {
  const remedy = kind === 'outputs' ? '; `signature.outputs` in model.yaml may leave it out' : '';
  return `${name} is ${type}, ${noForm}${remedy}`;
}

function mayBeShaped(said: readonly (number | null)[], own: readonly (number | null)[]): boolean {
  return said.length === own.length && own.every((size, axis) => size === null || size === said[axis]);
}
