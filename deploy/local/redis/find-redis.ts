/**
 * Finds a program that serves Redis: one on the PATH, else Debian's package in the cache folder, else a container.
 */

import { ConfigError } from '../../../shared/base/config.js';
import { messageOf } from '../../../shared/base/errors.js';
import { CommandError } from '../../run-command.js';
import { redisContainer } from './container.js';
import { packagedRedis } from './debian.js';
import {
  checkedVersion,
  type FindOptions,
  nativeProgram,
  osRelease,
  type RedisProgram,
} from './redis-program.js';

/**
 * Resolves to the first program that can be used.
 *
 * @throws {ConfigError} when there is none, with the reason for each way and the command that would install one here
 */
export async function findRedisProgram(options: FindOptions): Promise<RedisProgram> {
  const ways = [
    () => redisOnPath('redis-server'),
    () => redisOnPath('valkey-server'),
    () => packagedRedis(options),
    () => redisContainer(options),
  ];
  const reasons: string[] = [];
  for (const way of ways) {
    try {
      return await way();
    } catch (error) {
      if (options.signal?.aborted) throw error;
      reasons.push(messageOf(error).replaceAll('\n', '\n    '));
    }
  }
  throw new ConfigError(
    `There is no Redis to use, and none could be had:\n${reasons.map((reason) => `  - ${reason}`).join('\n')}\n${remedy()}`,
  );
}

/** Resolves to the program of that name on the PATH; rejects when it is missing or too old. */
export async function redisOnPath(command: string): Promise<RedisProgram> {
  try {
    return nativeProgram(command, await checkedVersion(command), 'on the PATH');
  } catch (error) {
    if (error instanceof CommandError && error.missing) throw new Error(`${command} is not on the PATH`);
    throw error;
  }
}

const INSTALL_COMMANDS: readonly [family: RegExp, command: string][] = [
  [/\b(debian|ubuntu)\b/, 'apt-get install redis-server'],
  [/\b(fedora|rhel|centos)\b/, 'dnf install valkey'],
  [/\balpine\b/, 'apk add valkey'],
  [/\barch\b/, 'pacman -S valkey'],
  [/\bsuse\b/, 'zypper install redis'],
];

function remedy(): string {
  const command = process.platform === 'darwin' ? 'brew install redis' : installCommand(osRelease());
  return `${command ? `Install one with \`${command}\`` : 'Install Redis or Valkey'}, or set REDIS_URL to a running one.`;
}

/** Returns the command that installs Redis on the system of that os-release(5). Root gets it without sudo, which may be missing. */
export function installCommand(
  release: Record<string, string>,
  isRoot = process.getuid?.() === 0,
): string | undefined {
  const families = `${release.ID ?? ''} ${release.ID_LIKE ?? ''}`;
  const command = INSTALL_COMMANDS.find(([family]) => family.test(families))?.[1];
  return command && (isRoot ? command : `sudo ${command}`);
}
