/** Tells failures of Redis from faults of ours. */

/** The words of the client about a connection. */
const CLIENT =
  /^(Command timed out|Connection is closed|Stream isn't writeable|Socket timeout|connect E|read E|write E)/;
/** The replies of a Redis that would not serve: it starts, is full, busy, a replica, part of a cluster, or wants another login. */
const REPLY =
  /^(ASK|BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|MOVED|NOAUTH|NOPERM|NOREPLICAS|OOM|READONLY|TRYAGAIN|UNBLOCKED|WRONGPASS|ERR max number of clients)\b/;
/** Redis 6 wraps the reply to a command of a script. */
const IN_SCRIPT = /^ERR Error running script .*-(BUSY|MISCONF|NOREPLICAS|OOM|READONLY)\b/;

/** Tells whether an error says that Redis could not be reached or would not serve, rather than that we asked wrongly. */
export function isRedisFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { name, message } = error;
  if (name === 'MaxRetriesPerRequestError' || name === 'AbortError') return true;
  // A MULTI is discarded because of what was replied to its commands.
  const { previousErrors } = error as { previousErrors?: unknown[] };
  if (message.startsWith('EXECABORT')) return previousErrors?.some(isRedisFailure) ?? false;
  return [CLIENT, REPLY, IN_SCRIPT].some((form) => form.test(message));
}
