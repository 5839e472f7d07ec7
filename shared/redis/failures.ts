/** Tells failures of Redis from faults of ours. */

/** Tells whether an error says that Redis could not be reached or would not serve, rather than that we asked wrongly. */
export function isRedisFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError') return true;
  return /^(Command timed out|Connection is closed|Stream isn't writeable|Socket timeout|connect E|LOADING|OOM|MISCONF|READONLY|read E|write E)/.test(
    error.message,
  );
}
