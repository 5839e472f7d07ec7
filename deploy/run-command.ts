/** Running another program to its end, for its output or for an error that repeats the program's own last words. */
import { basename } from 'node:path';
import { ExecaError, execa } from 'execa';

export interface CommandOptions {
  /** Ends the program early. */
  signal?: AbortSignal | undefined;
  /** The longest time the program may take; unlimited when missing. */
  timeoutMs?: number;
  cwd?: string;
  /** Variables beside the inherited ones. */
  environment?: Record<string, string>;
  /** Whether the output goes to the terminal instead of the result. */
  show?: boolean;
  /** How many of the last lines of its output an error repeats; 3 when missing. */
  errorLines?: number;
}

export class CommandError extends Error {
  override readonly name = 'CommandError';

  constructor(
    message: string,
    /** True when there is no such program on the PATH. */
    readonly missing: boolean,
  ) {
    super(message);
  }
}

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Runs a program without a shell and resolves to its output. A program that must end gets SIGTERM, and SIGKILL 5 s later.
 *
 * @throws {CommandError} when it is missing, fails, takes too long or is stopped
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<{ stdout: string; stderr: string }> {
  const output = options.show ? 'inherit' : 'pipe';
  try {
    const { stdout = '', stderr = '' } = await execa(program, args, {
      stdin: 'ignore',
      stdout: output,
      stderr: output,
      // Output is parsed, so it must come in one language.
      env: { LC_ALL: 'C', ...options.environment },
      maxBuffer: MAX_OUTPUT_BYTES,
      ...(options.timeoutMs && { timeout: options.timeoutMs }),
      ...(options.cwd && { cwd: options.cwd }),
      ...(options.signal && { cancelSignal: options.signal }),
    });
    return { stdout, stderr };
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    // EACCES: the PATH names a folder that this user may not look into.
    const missing = error.code === 'ENOENT' || error.code === 'EACCES';
    throw new CommandError(`${basename(program)}: ${reasonOf(error, options)}`, missing);
  }
}

function reasonOf(error: ExecaError, { timeoutMs = 0, errorLines = 3 }: CommandOptions): string {
  if (error.isCanceled) return 'was stopped';
  if (error.timedOut) return `took longer than ${timeoutMs / 1000} s`;
  const words = lastLines(String(error.stderr || error.stdout || ''), errorLines);
  return words || error.originalMessage || error.shortMessage;
}

/** Returns the last lines of a text that are not blank. */
export function lastLines(text: string, count: number): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-count).join('\n');
}
