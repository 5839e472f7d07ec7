/**
 * The shapes of ports without their batch: which dimension is the batch, which tensors have none, and which size it must have.
 */
import type { Fault } from '../contract/errors.js';
import type { TensorSpec } from '../contract/models/manifest.js';
import { type Port, textOf } from './ports.js';

/** A port with what the model.yaml says of it, and the place where it does. */
export interface Paired {
  port: Port;
  said: Partial<TensorSpec>;
  path: string;
}

export interface ModelBatch {
  /** No tensor has a batch dimension. */
  isNone: boolean;
  /** The one size that the model takes; null where it takes any. */
  size: number | null;
  fault: Fault | null;
}

/** Returns the batch that a model takes by the first dimensions of its inputs. */
export function modelBatch(
  inputs: readonly Paired[],
  isUnbatched: boolean,
  saidSize: number | undefined,
): ModelBatch {
  const batched = inputs.filter((pair) => !isSharedInput(pair));
  if (isUnbatched || batched.length === 0) return { isNone: true, size: null, fault: null };
  const fixed = batched.filter(({ port: { shape } }) => (shape?.[0] ?? -1) >= 0);
  const sizes = [...new Set(fixed.map(({ port }) => port.shape?.[0] as number))];
  const [size = saidSize ?? null] = sizes;
  const fail = (path: string, message: string) => ({ isNone: false, size, fault: { path, message } });
  // A state of recurrent layers, such as [2, ?, 128] beside [?, 512], has its batch elsewhere.
  const isOpen = batched.some(({ port: { shape } }) => (shape?.[0] ?? 0) < 0);
  const isMixed = isOpen && sizes.some((each) => each > 1) && saidSize === undefined;
  if (sizes.length > 1 || isMixed) {
    const firsts = batched.map(({ port: { name, shape } }) => `${name} ${textOf(shape)}`).join(', ');
    return fail(
      '/signature/inputs',
      `begin with different sizes, so these are no batch: ${firsts}; state \`batch: shared\` for a side input, or \`batching: {dimension: none}\``,
    );
  }
  if (saidSize !== undefined && saidSize !== size)
    return fail('/signature/batchSize', `is ${saidSize}; the model takes batches of ${size}`);
  return { isNone: false, size, fault: null };
}

/**
 * Returns the shape of one instance, or the whole shape of a tensor without a batch dimension. The shape is null where neither
 * the model nor the model.yaml tells it.
 */
export function shapeOf(
  kind: 'inputs' | 'outputs',
  pair: Paired,
  batch: ModelBatch,
): { shape: (number | null)[] | null; isShared: boolean } {
  const { port, said } = pair;
  const isShared =
    !batch.isNone && (kind === 'inputs' ? isSharedInput(pair) : isSharedOutput(pair, batch.size));
  if (!port.shape) return { shape: said.shape ?? null, isShared };
  const sizes = port.shape.map((size) => (size < 0 ? null : size));
  return { shape: isShared || batch.isNone ? sizes : sizes.slice(1), isShared };
}

/** Pictures have one of these counts of channels. */
const CHANNELS: readonly (number | null)[] = [1, 3];

/** Tells whether a picture's shape in the model has the channels first: because it was said, or by their count. */
export function hasChannelsFirst({ dtype, layout }: Partial<TensorSpec>, shape: readonly (number | null)[]) {
  if (dtype !== 'image' || shape.length !== 3) return false;
  const [first = null, , last = null] = shape;
  return layout === undefined ? CHANNELS.includes(first) && !CHANNELS.includes(last) : layout === 'NCHW';
}

/** A scalar has no dimension that could be the batch. */
function isSharedInput({ port, said }: Paired): boolean {
  return said.batch === 'shared' || port.shape?.length === 0;
}

/** An output whose first dimension has a size of its own, such as a list of classes, has no row for each instance. */
function isSharedOutput({ port: { shape }, said }: Paired, batchSize: number | null): boolean {
  if (said.batch === 'shared' || shape?.length === 0) return true;
  const [first = -1] = shape ?? [];
  return first >= 0 && first !== batchSize;
}
