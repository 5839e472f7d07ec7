/**
 * Predictions as callers see them: one element per instance.
 *
 * A job's output is packed as its instances were. A row that failed under `allowPartial` is stored as an instance
 * without values and shown as null.
 */
import { type Instance, toNested, unpackInstances } from './tensor.js';

export function presentPredictions(output: Buffer): unknown[] {
  return unpackInstances(output).map(presentPrediction);
}

/** One output: the value itself; several: an object by output name. */
function presentPrediction(outputs: Instance): unknown {
  const named = Object.entries(outputs).map(([name, value]) => [name, toNested(value)] as const);
  const [first] = named;
  if (!first) return null;
  return named.length === 1 ? first[1] : Object.fromEntries(named);
}
