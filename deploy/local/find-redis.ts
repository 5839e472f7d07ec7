/**
 * Which program serves Redis: one on the PATH, else Debian's package unpacked in the cache folder, else a container.
 */

import { ConfigError } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { CommandError } from './command.js';
import { redisContainer } from './container.js';
import { packagedRedis } from './debian.js';
import {
  checkedVersion,
  type FindOptions,
  nativeProgram,
  osRelease,
  type RedisProgram,
} from './redis-program.js';

export async function findRedisProgram(options: FindOptions): Promise<RedisProgram> {
  const ways = [
    () => redisOnPath('redis-server'),
    () => redisOnPath('valkey-server'),
    () => packagedRedis(options),
    () => redisContainer(options.signal),
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

export async function redisOnPath(command: string): Promise<RedisProgram> {
  try {
    return nativeProgram(command, await checkedVersion(command), 'on the PATH');
  } catch (error) {
    if (error instanceof CommandError && error.missing) throw new Error(`${command} is not on the PATH`);
    throw error;
  }
}

const INSTALL_COMMANDS: readonly [family: RegExp, command: string][] = [
  [/\b(debian|ubuntu)\b/, 'sudo apt-get install redis-server'],
  [/\b(fedora|rhel|centos)\b/, 'sudo dnf install valkey'],
  [/\balpine\b/, 'sudo apk add valkey'],
  [/\barch\b/, 'sudo pacman -S valkey'],
  [/\bsuse\b/, 'sudo zypper install redis'],
];

function remedy(): string {
  const command = process.platform === 'darwin' ? 'brew install redis' : installCommand(osRelease());
  return `${command ? `Install one with \`${command}\`` : 'Install Redis or Valkey'}, or set REDIS_URL to a running one.`;
}

export function installCommand(release: Record<string, string>): string | undefined {
  const families = `${release.ID ?? ''} ${release.ID_LIKE ?? ''}`;
  return INSTALL_COMMANDS.find(([family]) => family.test(families))?.[1];
}
