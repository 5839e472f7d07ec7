/**
 * What operators read: structured logs (pino), redacted.
 *
 * Promises: a credential never reaches a log line, nor what a caller has sent; an error that repeats is logged at most once a second per kind,
 * with the number of lines held back.
 */
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import type { Clock } from './clock.js';
import { messageOf, Refusal } from './errors.js';

export type Logger = Pick<PinoLogger, 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'child'>;

/** Paths whose values are replaced in every log line. */
const REDACTED = [
  'authorization',
  'apiKey',
  'secret',
  'token',
  'password',
  'instances',
  'predictions',
].flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

/** Lines of JSON; to stdout unless told. */
export function createLogger(name: string, level: string, to?: DestinationStream): Logger {
  const options = {
    name,
    level,
    redact: { paths: REDACTED, censor: '[redacted]' },
    serializers: { err: describeError },
  };
  return to ? pino(options, to) : pino(options);
}

/**
 * What an operator needs of an error and no more: libraries hang what they were doing on theirs, such as a Redis command
 * with a caller's data in its arguments.
 */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return messageOf(error);
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  return {
    type: name,
    message,
    ...(!(error instanceof Refusal) && { stack }),
    ...(typeof code === 'string' && { code }),
    ...(cause !== undefined && { cause: describeError(cause) }),
  };
}

/** A logger of errors that tells each kind at most once a second. */
export function createErrorLog(log: Logger, clock: Clock): (kind: string, error: unknown) => void {
  const kinds = new Map<string, { lastMs: number; held: number }>();
  return (kind, error) => {
    const seen = kinds.get(kind) ?? { lastMs: Number.NEGATIVE_INFINITY, held: 0 };
    kinds.set(kind, seen);
    if (clock.monotonic() - seen.lastMs < 1000) {
      seen.held++;
      return;
    }
    log.error({ ...told(error), kind, heldBack: seen.held }, 'error');
    seen.lastMs = clock.monotonic();
    seen.held = 0;
  };
}

/** What the system says of a connection or a file needs no place in the code. */
function told(error: unknown): { err: unknown } | { why: string } {
  return isSystemError(error) ? { why: messageOf(error) } : { err: error };
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
