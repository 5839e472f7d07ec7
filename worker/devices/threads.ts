/**
 * How the children of a backend share the cores.
 *
 * TensorFlow would start a thread for each core in every child. Batches run side by side better than the parts of one do, so
 * several children with fewer threads each compute more, and keep off each other's cores.
 */
import { availableParallelism } from 'node:os';
import { inheritedEnvironment } from '../../shared/base/config.js';

/** Read by TensorFlow when it starts: threads within an operation, and of operations side by side. */
const VARIABLES = ['TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'];

/** For the environment of each child; nothing where one has all cores, or the operator says how many. */
export function shareOfCores(
  children: number,
  cores = availableParallelism(),
  given = inheritedEnvironment({}),
): Record<string, string> {
  if (children === 1 || VARIABLES.some((name) => given[name] !== undefined)) return {};
  const threads = String(Math.max(1, Math.floor(cores / children)));
  return Object.fromEntries(VARIABLES.map((name) => [name, threads]));
}
