/**
 * Checks that the program of a SavedModel does nothing but compute.
 *
 * Operations of TensorFlow can read and write files, call Python and open connections, so each must have a class that may stand
 * where it stands (operation-table.ts). That includes operations that nobody runs, because TensorFlow folds constants when it
 * imports a graph, and may call one function in place of another.
 *
 * Files are touched by the saver and by tables that are filled from the version's own vocabularies (file-places.ts).
 */
import { messageOf } from '../../base/errors.js';
import { demandFilePlaces } from './file-places.js';
import { writesOfInputs } from './input-flow.js';
import { describeOperations, mayStand, operationClass, type Part } from './operation-table.js';
import type { GraphNode, Program, ProgramSignature } from './program.js';
import { portsOf, reachedFrom } from './reach.js';

export interface CheckOptions {
  /** The signature may draw random numbers, and write variables by what no caller has sent. */
  stateful: boolean;
}

const OF_JAX =
  '; it was exported from JAX: export it from Keras under KERAS_BACKEND=tensorflow, or by jax2tf.convert(…, native_serialization=False)';

/** Returns everything in the program that is not allowed, with its place; `served` is the signature that is computed. */
export function programFaults(
  program: Program,
  served: ProgramSignature | null,
  options: CheckOptions,
): string[] {
  const faults: string[] = [];
  const attempt = (check: () => readonly string[]) => {
    try {
      faults.push(...check());
    } catch (error) {
      faults.push(messageOf(error));
    }
  };
  const { nodes, functions, saver, initializers } = program;
  if (served) attempt(() => signatureFaults(program, served, options));
  attempt(() => partFaults('its loading', reachedFrom(program, [saver.restore]), 'loading'));
  attempt(() => partFaults('its initialisation', reachedFrom(program, initializers), 'initialisation'));
  const all = [nodes, ...functions.map((each) => each.nodes)].flat();
  attempt(() => partFaults('what it does not run', all, 'idle'));
  const substitutes = functions.filter((each) => each.replaces).flatMap((each) => each.nodes);
  attempt(() => partFaults('a function that may stand in for another', substitutes, 'substitute'));
  attempt(() => nameFaults(program));
  attempt(() => {
    demandFilePlaces(program);
    return [];
  });
  return [...new Set(faults)];
}

/** Tells whether a signature may be computed. */
export function onlyComputes(program: Program, signature: ProgramSignature, options: CheckOptions): boolean {
  return signatureFaults(program, signature, options).length === 0;
}

function signatureFaults(program: Program, signature: ProgramSignature, options: CheckOptions): string[] {
  const reached = reachedFrom(program, portsOf(signature));
  const isState = ({ op }: GraphNode) => ['chance', 'writes'].includes(operationClass(op));
  const others = reached.filter((node) => !isState(node));
  return [
    ...partFaults('its signature', others, 'signature'),
    ...stateFaults(program, signature, reached.filter(isState), options),
  ];
}

function stateFaults(
  program: Program,
  signature: ProgramSignature,
  found: readonly GraphNode[],
  { stateful }: CheckOptions,
): string[] {
  if (found.length === 0) return [];
  if (!stateful)
    return [
      `its signature uses ${describeOperations(opsOf(found))}, so equal inputs get unlike predictions: export it without layers such as RandomFlip, or a function that calls model(x, training=False), or say \`stateful: allow\` in model.yaml`,
    ];
  const leaking = writesOfInputs(program, signature);
  if (leaking.length === 0) return [];
  return [`its signature writes what callers send where other callers may read it: ${leaking.join(', ')}`];
}

/** TensorFlow would call the function in place of the operation, which then is not what its class says. */
function nameFaults({ functions }: Program): string[] {
  const names = functions.map(({ name }) => name).filter((name) => operationClass(name) !== 'unknown');
  return names.map((name) => `a function of it has the name of the operation ${name}`);
}

function partFaults(where: string, nodes: readonly GraphNode[], part: Part): string[] {
  const refused = opsOf(nodes).filter((op) => !mayStand(operationClass(op), part));
  if (refused.length === 0) return [];
  const remedy = refused.includes('XlaCallModule') ? OF_JAX : '';
  return [`${where} uses operations that are not allowed: ${describeOperations(refused)}${remedy}`];
}

function opsOf(nodes: readonly GraphNode[]): string[] {
  return [...new Set(nodes.map(({ op }) => op))];
}
