/**
 * A program that serves Redis, and the check that it can be used.
 */
import { readFileSync } from 'node:fs';
import { runCommand } from '../../run-command.js';

/** A program that runs Redis in the foreground. */
export interface RedisProgram {
  /** Names the program, for people. */
  origin: string;
  /** Returns the command that serves the data in `dir` at 127.0.0.1:`port`; `redis` holds further settings of redis.conf. */
  command(settings: { dir: string; port: number; redis: readonly string[] }): {
    command: string;
    args: readonly string[];
  };
  environment: Record<string, string>;
  /** Ends a server of that folder that has outlived its command. */
  remove?(dir: string): Promise<void>;
}

export interface FindOptions {
  cacheDir: string;
  tell(line: string): void;
  signal?: AbortSignal | undefined;
}

const VERSION_TIMEOUT_MS = 5000;
/** BullMQ warns of older versions. */
const OLDEST = [6, 2] as const;

/** Returns the Redis at `path`, a command of this machine. */
export function nativeProgram(
  path: string,
  version: string,
  where: string,
  environment: Record<string, string> = {},
): RedisProgram {
  return {
    origin: `${version} ${where}`,
    // Redis writes into its working directory, so a path with spaces needs no quoting.
    command: ({ port, redis }) => ({
      command: path,
      args: ['--bind', '127.0.0.1', '--protected-mode', 'yes', '--port', String(port), ...redis],
    }),
    // Redis 7 refuses to start in a locale that the system lacks.
    environment: { LC_ALL: 'C', ...environment },
  };
}

/**
 * Resolves to a text such as "Redis 7.0.15". Running `--version` shows that the program finds its libraries, too.
 *
 * @throws {CommandError} when it does not run; an Error when it is no Redis or too old
 */
export async function checkedVersion(
  command: string,
  environment: Record<string, string> = {},
): Promise<string> {
  const { stdout: text } = await runCommand(command, ['--version'], {
    timeoutMs: VERSION_TIMEOUT_MS,
    environment,
  });
  const [, major, minor, patch] = /\bv=(\d+)\.(\d+)\.(\d+)/.exec(text) ?? [];
  if (major === undefined) throw new Error(`${command} --version says "${text.trim()}", which is no Redis`);
  const isOld = Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1]);
  if (isOld)
    throw new Error(`${command} is version ${major}.${minor}; ${OLDEST.join('.')} or newer is needed`);
  return `${/valkey/i.test(text) ? 'Valkey' : 'Redis'} ${major}.${minor}.${patch}`;
}

/** Returns the fields of os-release(5); empty where there is no such file. */
export function osRelease(): Record<string, string> {
  try {
    const lines = readFileSync('/etc/os-release', 'utf8').matchAll(/^(\w+)="?([^"\n]*)"?$/gm);
    return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
  } catch {
    return {};
  }
}
