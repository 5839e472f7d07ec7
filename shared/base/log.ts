/**
 * Structured logs (pino) for operators.
 *
 * Promises: no credential and nothing that a caller has sent reaches a log line. An error that repeats is logged at most once
 * a second for each kind, with the number of lines held back.
 */
import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';
import type { Clock } from './clock.js';
import { messageOf, Refusal } from './errors.js';
import { terminalStream } from './terminal-log.js';

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

/** Returns a logger that writes lines of JSON to `to`, else to stdout; on a terminal they are written for people. */
export function createLogger(name: string, level: string, to?: DestinationStream): Logger {
  const options = {
    name,
    level,
    redact: { paths: REDACTED, censor: '[redacted]' },
    serializers: { err: describeError },
  };
  const place = to ?? terminalStream();
  return place ? pino(options, place) : pino(options);
}

/**
 * Keeps only the fields of an error that an operator needs. Libraries attach what they were doing, such as a database command
 * with a caller's data in its arguments, and that must not be logged.
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

/** Returns a function that logs errors, each kind at most once a second. */
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

/** A fault of a connection or a file needs no stack: its text says everything. */
function told(error: unknown): { err: unknown } | { why: string } {
  return isSystemError(error) ? { why: messageOf(error) } : { err: error };
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
