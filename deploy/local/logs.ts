/**
 * Log files of the programs that the launcher starts, and the few lines of them that belong on the terminal.
 */
import { closeSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import { basename } from 'node:path';

export interface LogFile {
  readonly path: string;
  /** Begins another run of the program; `lastWords` forgets the run before. */
  mark(): void;
  /** Returns the last warnings and errors since the mark, for people; empty when there are none. */
  lastWords(): string;
}

const SHOWN_LINES = 3;
const READ_BYTES = 16 * 1024;
/** The number that pino gives to warnings. */
const WARN = 40;

/** Begins a new file at `path`. The file of the launch before is kept as `<name>.1`. */
export function beginLog(path: string): LogFile {
  try {
    renameSync(path, `${path}.1`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  let from = 0;
  return {
    path,
    mark() {
      from = sizeOf(path);
    },
    lastWords() {
      const lines = readTail(path, from).split('\n').map(readable).filter(Boolean);
      return lines
        .slice(-SHOWN_LINES)
        .map((line) => `  ${basename(path)}: ${line}`)
        .join('\n');
    },
  };
}

/** Returns a line of pino's JSON as a sentence, empty when it is routine, and any other line unchanged. */
function readable(line: string): string {
  let entry: { level?: number; msg?: string; err?: { message?: string } };
  try {
    entry = JSON.parse(line);
  } catch {
    return line.trimEnd();
  }
  if (typeof entry?.level !== 'number') return line;
  return entry.level < WARN ? '' : [entry.msg, entry.err?.message].filter(Boolean).join(': ');
}

function readTail(path: string, from: number): string {
  const size = sizeOf(path);
  const start = Math.max(from, size - READ_BYTES);
  if (start >= size) return '';
  const buffer = Buffer.alloc(size - start);
  const file = openSync(path, 'r');
  try {
    return buffer.toString('utf8', 0, readSync(file, buffer, 0, buffer.length, start));
  } finally {
    closeSync(file);
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
