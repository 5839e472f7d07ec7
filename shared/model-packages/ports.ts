/**
 * Ports: the tensors of a model as the model itself declares them, whatever its format.
 */
import type { TensorSpec } from '../contract/models/manifest.js';
import type { Dtype } from '../contract/tensors/dtypes.js';

export interface Port {
  name: string;
  /** Other texts by which a model.yaml may mean it. */
  aliases?: readonly string[];
  /** The dtype under which it travels; null where Sluice has no form for its type. */
  dtype: Dtype | null;
  /** Its type as people know it. */
  type: string;
  /** With the first dimension; -1 is a size that varies. Null where the rank is unknown. */
  shape: readonly number[] | null;
}

export interface Ports {
  inputs: readonly Port[];
  outputs: readonly Port[];
}

/** Returns the port that a specification means; its own name goes before its other ones. */
export function portOf<P extends Pick<Port, 'name' | 'aliases'>>(
  ports: readonly P[],
  { name, from = name }: Partial<TensorSpec>,
): P | undefined {
  return (
    ports.find((port) => port.name === from) ??
    ports.find(({ aliases = [] }) => from !== undefined && aliases.includes(from))
  );
}

/** Returns "[28, 28, ?]"; a size that varies is a question mark. */
export function textOf(shape: readonly (number | null)[] | null): string {
  if (!shape) return 'of unknown rank';
  return `[${shape.map((size) => (size === null || size < 0 ? '?' : size)).join(', ')}]`;
}

/**
 * Returns outputs as they are for any batch. A file that was exported while it computed one row may tell one for all outputs,
 * and its inputs take any number all the same. The warm-up shows whether that is so.
 */
export function withRows<P extends Port>(inputs: readonly Port[], outputs: readonly P[]): readonly P[] {
  const isOpen = inputs.some(({ shape }) => (shape?.[0] ?? 0) < 0);
  if (!isOpen || outputs.some(({ shape }) => shape?.[0] !== 1)) return outputs;
  return outputs.map((port) => ({ ...port, shape: [-1, ...(port.shape ?? []).slice(1)] }));
}

/**
 * Returns the place among the ports of each specification: by name when all names are the model's. When none is, a tensor that
 * is alone is the only one there is, and with `byOrder` several are taken in their order. Else nothing tells which is which.
 * @throws Error that lists both.
 */
export function matchPorts(
  specs: readonly Partial<TensorSpec>[],
  ports: readonly Pick<Port, 'name' | 'aliases'>[],
  kind: 'input' | 'output',
  byOrder: boolean,
): number[] {
  const places = specs.map((spec) => {
    const port = portOf(ports, spec);
    return port ? ports.indexOf(port) : -1;
  });
  if (places.every((place) => place >= 0)) return places;
  const isInOrder = specs.length === ports.length && (byOrder || ports.length === 1);
  if (isInOrder && places.every((place) => place < 0)) return specs.map((_, index) => index);
  const names = (list: readonly { name?: string | undefined }[]) => list.map(({ name }) => name).join(', ');
  throw new Error(
    `the signature's ${kind}s (${names(specs)}) are not the model's (${names(ports)}); \`from\` gives the model's own name of one that is renamed`,
  );
}
