/**
 * Sharing the cores among the children of a backend.
 *
 * TensorFlow would start a thread for each core in every child. Whole batches run side by side better than the parts of one
 * batch, so several children with fewer threads each compute more, and keep off each other's cores.
 */
import { availableParallelism } from 'node:os';
import { inheritedEnvironment } from '../../shared/base/config.js';

/** TensorFlow reads these when it starts: threads within an operation, and for operations side by side. */
const VARIABLES = ['TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'];

/** Returns the variables for each child; none when one child has all cores, or when the operator has set them. */
export function shareOfCores(
  children: number,
  cores = availableParallelism(),
  given = inheritedEnvironment({}),
): Record<string, string> {
  if (children === 1 || VARIABLES.some((name) => given[name] !== undefined)) return {};
  const threads = String(Math.max(1, Math.floor(cores / children)));
  return Object.fromEntries(VARIABLES.map((name) => [name, threads]));
}

/** Returns how many threads a library may start that asks for their number: this child's share of the cores. */
export function threadsHere(cores = availableParallelism(), given = inheritedEnvironment({})): number {
  return Math.max(1, Math.floor(Number(given.TF_NUM_INTRAOP_THREADS)) || cores);
}
