/**
 * Log lines for people, where a process writes to a terminal. Files and pipes get the same lines as JSON, for programs.
 */
import { type DestinationStream, pino } from 'pino';

/** Fields that say the same in every line of a process. */
const CONSTANT: ReadonlySet<string> = new Set(['pid', 'hostname']);

type LoggedError = string | { message?: string; stack?: string; cause?: LoggedError };

interface Entry {
  level: number;
  time: number;
  name?: string;
  msg?: string;
  err?: LoggedError;
  [fact: string]: unknown;
}

/** Returns the terminal as a place for log lines, null where standard output is none. */
export function terminalStream(out: NodeJS.WriteStream = process.stdout): DestinationStream | null {
  if (!out.isTTY) return null;
  // A terminal that was closed must not end the process.
  out.on('error', () => undefined);
  return { write: (line) => void out.write(`${readableLine(line)}\n`) };
}

/** Returns a line of JSON as people read it: time, level, process, text, facts, and the error with its stack. */
export function readableLine(json: string): string {
  const { level, time, name, msg, err, ...facts } = JSON.parse(json) as Entry;
  const label = (pino.levels.labels[level] ?? String(level)).toUpperCase();
  const told = Object.entries(facts).flatMap(([key, value]) =>
    CONSTANT.has(key) ? [] : `${key}=${textOf(value)}`,
  );
  const head = [new Date(time).toTimeString().slice(0, 8), label.padEnd(5), name, msg, ...told];
  return [head.filter(Boolean).join(' '), ...errorLines(err)].join('\n');
}

function errorLines(err: LoggedError | undefined): string[] {
  if (err === undefined) return [];
  if (typeof err === 'string') return indented(err);
  return [...indented(err.stack ?? err.message ?? JSON.stringify(err)), ...errorLines(err.cause)];
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `  ${line}`);
}

function textOf(value: unknown): string {
  return typeof value === 'string' && /^\S+$/.test(value) ? value : JSON.stringify(value);
}
