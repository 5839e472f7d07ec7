/**
 * Presenting predictions to callers: one element for each instance of the job.
 *
 * A job's output is packed like its input. A row that failed under `allowPartial` is stored as an instance without values
 * and shown as null.
 */
import { type Instance, toNested, unpackInstances } from './tensor.js';

/** Returns the predictions of a packed output, in the order of the job's instances. */
export function presentPredictions(output: Buffer): unknown[] {
  return unpackInstances(output).map(presentPrediction);
}

/** A model with one output shows the value itself; with several, an object of them by name. */
function presentPrediction(outputs: Instance): unknown {
  const named = Object.entries(outputs).map(([name, value]) => [name, toNested(value)] as const);
  const [first] = named;
  if (!first) return null;
  return named.length === 1 ? first[1] : Object.fromEntries(named);
}
