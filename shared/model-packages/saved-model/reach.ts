/** The nodes of a program that run when some of its tensors are computed. */
import type { GraphFunction, GraphNode, Program, ProgramSignature } from './program.js';

/** Returns the tensors of a signature. */
export function portsOf({ inputs, outputs }: ProgramSignature): string[] {
  return [...inputs.values(), ...outputs.values()].map(({ name }) => name);
}

/**
 * Returns all nodes that some tensors depend on, through control inputs and bodies of functions too.
 * @throws Error when two nodes or functions have one name.
 */
export function reachedFrom({ nodes, functions }: Program, tensors: readonly string[]): GraphNode[] {
  const reached = graphReachedFrom(nodes, tensors);
  const known = byName(functions);
  // The loop adds to the set that it iterates over.
  const called = new Set<GraphFunction>();
  const addCalled = ({ names }: GraphNode) => {
    for (const name of names) {
      const found = known.get(name);
      if (found) called.add(found);
    }
  };
  reached.forEach(addCalled);
  for (const { nodes: body } of called) body.forEach(addCalled);
  return [...reached, ...[...called].flatMap(({ nodes: body }) => body)];
}

/** Does the same within the graph alone. */
export function graphReachedFrom(nodes: readonly GraphNode[], tensors: readonly string[]): GraphNode[] {
  const known = byName(nodes);
  const reached = new Set(tensors.flatMap((tensor) => known.get(nodeOf(tensor)) ?? []));
  for (const { inputs } of reached)
    for (const input of inputs) {
      const before = known.get(nodeOf(input));
      if (before) reached.add(before);
    }
  return [...reached];
}

/** An input `^name` only orders execution; `name:1` is an output of the node `name`. */
export function nodeOf(input: string): string {
  return input.replace(/^\^/, '').replace(/:.*$/, '');
}

function byName<T extends { name: string }>(list: readonly T[]): Map<string, T> {
  const map = new Map(list.map((each) => [each.name, each]));
  if (map.size < list.length) throw new Error('the SavedModel has two nodes, or functions, of one name');
  return map;
}
