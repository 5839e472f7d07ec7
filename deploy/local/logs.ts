/**
 * Log files of the programs that the launcher starts, and the few lines of them that belong on the terminal.
 *
 * Promise: a program has two files of about `MOST_BYTES` at most, because a disk must not fill while nobody looks. The
 * programs write to the files themselves, so that they outlive a launcher that was killed; a launcher only makes room.
 */
import {
  closeSync,
  copyFileSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import type { Clock } from '../../shared/base/clock.js';

export interface LogFile {
  readonly path: string;
  /** Begins another run of the program; `lastWords` forgets the run before. */
  mark(): void;
  /** Returns the last warnings and errors since the mark, for people; empty when there are none. */
  lastWords(): string;
}

export interface Logs {
  /** Begins the file of a program. That of the launch before is kept as `<name>.log.1`. */
  begin(name: string): LogFile;
  /** Stops bounding the files. */
  close(): void;
}

const MOST_BYTES = 16 * 1024 * 1024;
const CHECK_MS = 1000;
const SHOWN_LINES = 3;
const READ_BYTES = 16 * 1024;
/** The number that pino gives to warnings. */
const WARN = 40;

/** Returns the log files in `folder`. */
export function openLogs(folder: string, clock: Clock): Logs {
  const paths: string[] = [];
  const close = clock.every(CHECK_MS, () => {
    for (const path of paths) if (sizeOf(path) > MOST_BYTES) makeRoom(path);
  });
  return {
    begin(name) {
      const path = join(folder, `${name}.log`);
      paths.push(path);
      return beginLog(path);
    },
    close,
  };
}

function beginLog(path: string): LogFile {
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
      // A file that was emptied holds less than it did at the mark.
      const lines = readTail(path, from > sizeOf(path) ? 0 : from)
        .split('\n')
        .map(readable)
        .filter(Boolean);
      return lines
        .slice(-SHOWN_LINES)
        .map((line) => `  ${basename(path)}: ${line}`)
        .join('\n');
    },
  };
}

/** Empties a file that its program goes on to append to. Lines that are written between the two steps are lost. */
function makeRoom(path: string): void {
  try {
    copyFileSync(path, `${path}.1`);
  } catch {
    // The disk is full, and room matters more than old lines.
    rmSync(`${path}.1`, { force: true });
  }
  try {
    truncateSync(path);
  } catch {
    // The next check tries again.
  }
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
