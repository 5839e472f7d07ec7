/**
 * Checks that the program of a SavedModel holds allowed operations only.
 *
 * Operations of TensorFlow can read and write files, call Python and open connections, so every operation must be on a list.
 * That includes operations that nobody runs, because TensorFlow folds constants when it imports a graph, and may call one
 * function in place of another. Shorter lists hold for the parts that run: the serving signature and the loading.
 *
 * Only the saver touches files. Its restoring part reads where TensorFlow tells it, which is the version's folder; its saving
 * part never runs. The check refuses every other way to reach these operations.
 */
import { messageOf } from '../../base/errors.js';
import { ASSIGNING_OPS, COMPUTING_OPS, RESTORING_OPS, SAVING_OPS, TRAINING_OPS } from './operations.js';
import type { GraphFunction, GraphNode, Program, ProgramSignature } from './program.js';

const CALLS: ReadonlySet<string> = new Set(['PartitionedCall', 'StatefulPartitionedCall']);

/** Returns everything in the program that is not allowed, with its place; `served` is the signature that is computed. */
export function programFaults(program: Program, served: ProgramSignature | null): string[] {
  const faults: string[] = [];
  const attempt = (check: () => void) => {
    try {
      check();
    } catch (error) {
      faults.push(messageOf(error));
    }
  };
  const demand = (where: string, used: () => ReadonlySet<string>, ...allowed: ReadonlySet<string>[]) =>
    attempt(() => {
      const refused = refusedOf(used(), allowed);
      if (refused.length > 0)
        throw new Error(`${where} uses operations that are not allowed: ${refused.join(', ')}`);
    });
  if (program.hasAssets)
    faults.push('the SavedModel has assets, files of its own that it reads, which is not allowed');
  if (served) demand('its signature', () => reachedBy(program, portsOf(served)), COMPUTING_OPS);
  demand('its loading', () => reachedBy(program, [program.saver.restore]), COMPUTING_OPS, RESTORING_OPS);
  const initialised = () => reachedBy(program, program.initializers);
  demand('its initialisation', initialised, COMPUTING_OPS, ASSIGNING_OPS);
  const all = [program.nodes, ...program.functions.map((each) => each.nodes)].flat();
  const idle = () => new Set(all.map(({ op }) => op));
  demand('what it does not run', idle, COMPUTING_OPS, RESTORING_OPS, SAVING_OPS, TRAINING_OPS);
  attempt(() => demandFilesOfSaver(program));
  return [...new Set(faults)];
}

/** Tells whether a signature does nothing but compute. */
export function onlyComputes(program: Program, signature: ProgramSignature): boolean {
  return refusedOf(reachedBy(program, portsOf(signature)), [COMPUTING_OPS]).length === 0;
}

function portsOf({ inputs, outputs }: ProgramSignature): string[] {
  return [...inputs.values(), ...outputs.values()].map(({ name }) => name);
}

function refusedOf(used: ReadonlySet<string>, allowed: readonly ReadonlySet<string>[]): string[] {
  return [...used].filter((op) => !allowed.some((ops) => ops.has(op))).sort();
}

/** Returns the operations that tensors depend on. */
function reachedBy({ nodes, functions }: Program, tensors: readonly string[]): Set<string> {
  return operationsFrom(byName(nodes), byName(functions), tensors);
}

function byName<T extends { name: string }>(list: readonly T[]): Map<string, T> {
  const map = new Map(list.map((each) => [each.name, each]));
  if (map.size < list.length) throw new Error('the SavedModel has two nodes, or functions, of one name');
  return map;
}

/** Returns the operations of all nodes that some tensors depend on, through control inputs and bodies of functions too. */
function operationsFrom(
  nodes: ReadonlyMap<string, GraphNode>,
  functions: ReadonlyMap<string, GraphFunction>,
  tensors: readonly string[],
): Set<string> {
  // The loops add to the sets that they iterate over.
  const reached = new Set(tensors.flatMap((tensor) => nodes.get(nodeOf(tensor)) ?? []));
  for (const { inputs } of reached)
    for (const input of inputs) {
      const before = nodes.get(nodeOf(input));
      if (before) reached.add(before);
    }
  const called = new Set<GraphFunction>();
  const addCalled = ({ names }: GraphNode) => {
    for (const name of names) {
      const found = functions.get(name);
      if (found) called.add(found);
    }
  };
  reached.forEach(addCalled);
  for (const { nodes: body } of called) body.forEach(addCalled);
  const bodies = [...called].flatMap(({ nodes: body }) => body);
  return new Set([...reached, ...bodies].map(({ op }) => op));
}

/** An input `^name` only orders execution; `name:1` is an output of the node `name`. */
function nodeOf(input: string): string {
  return input.replace(/^\^/, '').replace(/:.*$/, '');
}

/** Operations on files stand only in the graph or in functions that only the graph calls, and they read only in the folder. */
function demandFilesOfSaver({ nodes, functions, saver }: Program): void {
  const calledWithin = new Set(functions.flatMap((each) => each.nodes.flatMap(({ names }) => [...names])));
  const restoring = new Set<string>();
  for (const { name, nodes: body, replaces, firstArgument } of functions) {
    if (!body.some(usesFiles)) continue;
    if (replaces || calledWithin.has(name))
      throw new Error(`the function ${name} reads or writes files, and not for the saver alone`);
    const restores = body.filter(isRestore);
    if (restores.some(({ inputs }) => inputs[0] !== firstArgument)) throw elsewhere();
    if (restores.length > 0) restoring.add(name);
  }
  for (const node of nodes) {
    if (isRestore(node)) demandPlace(node, saver.filename);
    if ([...node.names].some((name) => restoring.has(name))) demandCall(node, saver.filename);
  }
}

function isRestore({ op }: GraphNode): boolean {
  return op === 'RestoreV2';
}

function usesFiles(node: GraphNode): boolean {
  return isRestore(node) || SAVING_OPS.has(node.op);
}

/** Checks one function, whose first argument is the place to read at. */
function demandCall(node: GraphNode, filename: string): void {
  if (!CALLS.has(node.op) || node.names.size !== 2) throw elsewhere();
  demandPlace(node, filename);
}

function demandPlace({ inputs: [place] }: GraphNode, filename: string): void {
  if (!place || tensorOf(place) !== tensorOf(filename)) throw elsewhere();
}

function tensorOf(input: string): string {
  return input.includes(':') ? input : `${input}:0`;
}

function elsewhere(): Error {
  return new Error('its loading reads variables at another place than the one in its folder');
}
