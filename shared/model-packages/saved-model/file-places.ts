/**
 * Checks where a SavedModel has files read: its variables where TensorFlow tells it, which is the version's folder, and the
 * vocabularies of its tables at its assets. What saves never runs. Every other way to reach these operations is refused.
 *
 * An asset is a file of the version. TensorFlow puts its path into a tensor of the graph while it loads the model. Exports of
 * TensorFlow 2 keep the path in a variable until the table is filled, so no other string may be put into a variable.
 */
import { DATA_TYPES } from './fields.js';
import { operationClass } from './operation-table.js';
import type { GraphFunction, GraphNode, Program } from './program.js';
import { nodeAt, nodeOf } from './reach.js';

const CALLS: ReadonlySet<string> = new Set(['PartitionedCall', 'StatefulPartitionedCall']);
const STRINGS: readonly number[] = [DATA_TYPES.DT_STRING, DATA_TYPES.DT_STRING_REF];
/** The path is this input of `InitializeTableFromTextFileV2`. */
const PATH_INPUT = 1;

/** A function that reads files: which of its arguments are their places. */
interface Reading {
  restores: boolean;
  /** Indices of the arguments that are paths of vocabularies. */
  paths: number[];
}

/** Throws an Error when a file is read that is not a file of the version. */
export function demandFilePlaces(program: Program): void {
  const { nodes, functions, saver } = program;
  demandPlacesOfAssets(program);
  const places = new Set(program.assets.map(({ place }) => tensorOf(place)));
  const all = [nodes, ...functions.map((each) => each.nodes)].flat();
  if (all.some(isVocabulary)) demandStringsOfAssets(program, places);
  const calledWithin = new Set(functions.flatMap((each) => each.nodes.flatMap(({ names }) => [...names])));
  const reading = new Map<string, Reading>();
  for (const each of functions) {
    if (!each.nodes.some(usesFiles)) continue;
    if (each.replaces || calledWithin.has(each.name))
      throw new Error(`the function ${each.name} reads or writes files, and not for the saver alone`);
    reading.set(each.name, readingOf(each));
  }
  for (const node of nodes) {
    if (isRestore(node)) demandPlace(node, saver.filename);
    if (isVocabulary(node)) demandAsset(program, places, node.inputs[PATH_INPUT]);
    for (const name of node.names) {
      const { restores, paths } = reading.get(name) ?? { restores: false, paths: [] };
      const isCall = CALLS.has(node.op) && node.names.size === 2;
      if (!isCall && restores) throw elsewhere();
      if (!isCall && paths.length > 0) throw foreignVocabulary();
      if (restores) demandPlace(node, saver.filename);
      for (const path of paths) demandAsset(program, places, node.inputs[path]);
    }
  }
}

/** Finds the places that a function reads at. Variables are at its first argument. */
function readingOf({ nodes, arguments: given }: GraphFunction): Reading {
  const indices = new Map(given.map((name, i) => [name, i]));
  const strings = new Set(nodes.filter(readsString).map(({ name }) => name));
  const restores = nodes.filter(isRestore);
  if (restores.some(({ inputs }) => inputs[0] === undefined || inputs[0] !== given[0])) throw elsewhere();
  const paths = nodes.filter(isVocabulary).flatMap(({ inputs }) => {
    const path = inputs[PATH_INPUT] ?? '';
    const index = indices.get(path);
    if (index !== undefined) return [index];
    if (strings.has(nodeOf(path))) return [];
    throw foreignVocabulary();
  });
  return { restores: restores.length > 0, paths: [...new Set(paths)] };
}

/** An asset is put where the graph has a place to be fed, and not where the saver has its own. */
function demandPlacesOfAssets({ nodes, assets, saver }: Program): void {
  const fed = nodes.filter(({ op }) => op === 'Placeholder' || op === 'Const');
  const places = new Set(fed.map(({ name }) => tensorOf(name)));
  for (const { filename, place } of assets)
    if (!places.has(tensorOf(place)) || tensorOf(place) === tensorOf(saver.filename))
      throw new Error(`the path of the asset ${filename} would be put at ${place}, which is no place for it`);
}

/** Variables of strings hold paths of assets alone. */
function demandStringsOfAssets(program: Program, places: ReadonlySet<string>): void {
  const isOfStrings = ({ op, types }: GraphNode) =>
    operationClass(op) === 'writes' && STRINGS.some((type) => types.has(type));
  for (const node of program.nodes.filter(isOfStrings)) {
    if (node.op !== 'AssignVariableOp') throw foreignVocabulary();
    const [, value = ''] = node.inputs;
    if (!places.has(tensorOf(value))) throw foreignVocabulary();
  }
  if (program.functions.some((each) => each.nodes.some(isOfStrings))) throw foreignVocabulary();
}

function demandAsset(program: Program, places: ReadonlySet<string>, path = ''): void {
  if (!places.has(tensorOf(path)) && !readsString(nodeAt(program, path))) throw foreignVocabulary();
}

function readsString(node: GraphNode | undefined): boolean {
  return node?.op === 'ReadVariableOp' && node.types.has(DATA_TYPES.DT_STRING);
}

function isRestore({ op }: GraphNode): boolean {
  return operationClass(op) === 'restores';
}

function isVocabulary({ op }: GraphNode): boolean {
  return operationClass(op) === 'vocabulary';
}

function usesFiles(node: GraphNode): boolean {
  return ['restores', 'saves', 'vocabulary'].includes(operationClass(node.op));
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

function foreignVocabulary(): Error {
  return new Error(
    'a table of it is filled from a file that is no asset of the version: export it with the vocabulary as a file that exists, which TensorFlow then copies into assets/',
  );
}
