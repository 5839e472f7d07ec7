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
export function reachedFrom(program: Program, tensors: readonly string[]): GraphNode[] {
  const reached = graphReachedFrom(program, tensors);
  return [...reached, ...functionsOf(program, reached).flatMap(({ nodes }) => nodes)];
}

/** Returns the functions that nodes may call, and those that these may call. */
export function functionsOf(program: Program, nodes: readonly GraphNode[]): GraphFunction[] {
  const { functions } = indexOf(program);
  // The loop adds to the set that it iterates over.
  const called = new Set<GraphFunction>();
  const addCalled = ({ names }: GraphNode) => {
    for (const name of names) {
      const found = functions.get(name);
      if (found) called.add(found);
    }
  };
  nodes.forEach(addCalled);
  for (const { nodes: body } of called) body.forEach(addCalled);
  return [...called];
}

/** Does the same as `reachedFrom` within the graph alone. */
export function graphReachedFrom(program: Program, tensors: readonly string[]): GraphNode[] {
  const { nodes } = indexOf(program);
  const reached = new Set(tensors.flatMap((tensor) => nodes.get(nodeOf(tensor)) ?? []));
  for (const { inputs } of reached)
    for (const input of inputs) {
      const before = nodes.get(nodeOf(input));
      if (before) reached.add(before);
    }
  return [...reached];
}

/** Returns the node of the graph that a tensor is an output of. */
export function nodeAt(program: Program, tensor: string): GraphNode | undefined {
  return indexOf(program).nodes.get(nodeOf(tensor));
}

/** An input `^name` only orders execution; `name:1` is an output of the node `name`. */
export function nodeOf(input: string): string {
  return input.replace(/^\^/, '').replace(/:.*$/, '');
}

interface ProgramIndex {
  nodes: ReadonlyMap<string, GraphNode>;
  functions: ReadonlyMap<string, GraphFunction>;
}

const indices = new WeakMap<Program, ProgramIndex>();

/** A program is asked once for each of its signatures, and may be large. */
function indexOf(program: Program): ProgramIndex {
  const index = indices.get(program) ?? {
    nodes: byName(program.nodes),
    functions: byName(program.functions),
  };
  indices.set(program, index);
  return index;
}

function byName<T extends { name: string }>(list: readonly T[]): Map<string, T> {
  const map = new Map(list.map((each) => [each.name, each]));
  if (map.size < list.length) throw new Error('the SavedModel has two nodes, or functions, of one name');
  return map;
}
