/**
 * Other programs, run to their end: their output, or an error that repeats their own last words.
 */
import { execFile } from 'node:child_process';
import { basename } from 'node:path';
import { inheritedEnvironment } from '../../shared/base/config.js';

export interface CommandOptions {
  timeoutMs: number;
  cwd?: string;
  environment?: Record<string, string>;
  /** Ends the program early. */
  signal?: AbortSignal | undefined;
}

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

export class CommandError extends Error {
  override readonly name = 'CommandError';
  /** True when there is no such program on the PATH. */
  readonly missing: boolean;

  constructor(message: string, missing: boolean) {
    super(message);
    this.missing = missing;
  }
}

/** Resolves to what the program wrote to its standard output. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const settings = {
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL' as const,
      maxBuffer: MAX_OUTPUT_BYTES,
      // Answers are parsed, so they have to come in one language.
      env: inheritedEnvironment({ LC_ALL: 'C', ...options.environment }),
      ...(options.cwd && { cwd: options.cwd }),
      ...(options.signal && { signal: options.signal }),
    };
    execFile(command, args, settings, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const reason = options.signal?.aborted
        ? 'was stopped'
        : error.killed
          ? `took longer than ${options.timeoutMs / 1000} s`
          : lastLines(stderr, 3) || error.message;
      // EACCES: a folder of the PATH that this user may not look into.
      const missing = error.code === 'ENOENT' || error.code === 'EACCES';
      reject(new CommandError(`${basename(command)}: ${reason}`, missing));
    });
  });
}

export function lastLines(text: string, count: number): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-count).join('\n');
}
