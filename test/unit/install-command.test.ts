import { expect, it } from 'vitest';
import { packagesToUnpack } from '../../deploy/local/redis/debian.js';
import { installCommand } from '../../deploy/local/redis/find-redis.js';

it.each([
  [{ ID: 'debian' }, 'apt-get install redis-server'],
  [{ ID: 'linuxmint', ID_LIKE: 'ubuntu debian' }, 'apt-get install redis-server'],
  [{ ID: 'rocky', ID_LIKE: 'rhel centos fedora' }, 'dnf install valkey'],
  [{ ID: 'alpine' }, 'apk add valkey'],
  [{ ID: 'opensuse-leap', ID_LIKE: 'suse opensuse' }, 'zypper install redis'],
])('knows how to install on %o', (release, command) => {
  expect(installCommand(release, true)).toBe(command);
  expect(installCommand(release, false)).toBe(`sudo ${command}`);
});

it('knows no command for a system it does not know', () => {
  expect(installCommand({ ID: 'haiku' })).toBeUndefined();
  expect(installCommand({})).toBeUndefined();
});

it('unpacks the server with the libraries that are missing, never with a C library', () => {
  const plan = ['libc6', 'libc-bin', 'libjemalloc2', 'adduser', 'redis-tools', 'redis-server'];
  expect(
    packagesToUnpack(plan.map((name) => `Inst ${name} (1.0 Debian:12/stable [amd64])`).join('\n')),
  ).toEqual(['redis-server', 'redis-tools', 'libjemalloc2']);
});
