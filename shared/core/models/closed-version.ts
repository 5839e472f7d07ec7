/**
 * The error for who begins to use a version that was closed since it was resolved (redis/lua/include/version-gate.lua).
 */
import { SluiceError } from '../../contract/errors.js';

/** A version is `retired` for new jobs, `purged` for ever, or `deleted` with its model. */
export type ClosedBy = 'retired' | 'purged' | 'deleted';

/** Returns whether a script replied that a version is closed. */
export function isClosedBy(reply: string): reply is ClosedBy {
  return reply === 'retired' || reply === 'purged' || reply === 'deleted';
}

/** Returns the error that a caller would have got a moment later. */
export function closedVersion(by: ClosedBy, model: string, version: number): SluiceError {
  if (by === 'deleted') return new SluiceError('model_not_found', `There is no model "${model}".`);
  if (by === 'retired') return new SluiceError('version_retired');
  return purgedVersion(model, version);
}

/** Returns the error of a version whose files are gone. */
export function purgedVersion(model: string, version: number): SluiceError {
  const detail = `Version ${version} of ${model} was purged: its files are gone, and its number is not given again.`;
  return new SluiceError('version_retired', detail);
}
