/** Runs one program and waits for it. What it wrote is shown while it runs, or only if it fails. */
import { spawn } from 'node:child_process';
import { inheritedEnvironment } from '../../shared/base/config.js';

export interface CommandOptions {
  signal: AbortSignal;
  /** Whether its output goes to the terminal; else it is collected. */
  show?: boolean;
  environment?: Record<string, string>;
}

export interface CommandOutput {
  stdout: string;
  stderr: string;
}

/** Enough to see why a compiler or pip gave up. */
const LINES_SHOWN = 25;

export function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandOutput> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      signal: options.signal,
      stdio: ['ignore', options.show ? 'inherit' : 'pipe', options.show ? 'inherit' : 'pipe'],
      env: inheritedEnvironment(options.environment ?? {}),
    });
    const output: CommandOutput = { stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      output.stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code, killedBy) => {
      if (code === 0) return resolve(output);
      const how = killedBy ? `was killed by ${killedBy}` : `ended with exit code ${code}`;
      const said = (output.stderr || output.stdout).trimEnd().split('\n').slice(-LINES_SHOWN).join('\n');
      reject(new Error(`${program} ${how}.${said ? `\n${said}` : ''}`));
    });
  });
}
