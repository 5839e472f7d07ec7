/**
 * Redis in a container, where a Docker engine answers: the last of the ways.
 *
 * The container is run in the foreground, so the docker command stands for it: it passes SIGTERM on and ends with it.
 * Killed by SIGKILL it leaves the container running; the name, made from the folder, tells which one to remove.
 */
import { createHash } from 'node:crypto';
import { messageOf } from '../../../shared/base/errors.js';
import { CommandError, runCommand } from '../../run-command.js';
import type { FindOptions, RedisProgram } from './redis-program.js';

export const REDIS_IMAGE = 'redis:7';
const PROBE_TIMEOUT_MS = 5000;
const PULL_TIMEOUT_MS = 300_000;
const REMOVE_TIMEOUT_MS = 15_000;

export async function redisContainer(options: FindOptions): Promise<RedisProgram> {
  await probe(options.signal);
  await provideImage(options);
  return {
    origin: `container of ${REDIS_IMAGE}`,
    command: ({ dir, port, redis }) => ({
      command: 'docker',
      args: [
        // No --init: Redis ends its children itself, and engines other than Docker may lack the program for it.
        ...['run', '--rm', '--name', containerName(dir), '--workdir', '/data'],
        ...['--publish', `127.0.0.1:${port}:6379`, '--volume', `${dir}:/data`],
        // The files of the folder belong to who runs the launcher; the image's own entry point would give root's away.
        ...['--user', `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`],
        ...['--entrypoint', 'redis-server', REDIS_IMAGE],
        ...['--bind', '0.0.0.0', '--protected-mode', 'no', '--port', '6379'],
        ...redis,
      ],
    }),
    environment: {},
    async remove(dir) {
      await runCommand('docker', ['rm', '--force', containerName(dir)], {
        timeoutMs: REMOVE_TIMEOUT_MS,
      }).catch(() => {});
    },
  };
}

async function probe(signal?: AbortSignal): Promise<void> {
  try {
    await runCommand('docker', ['version', '--format', '{{.Server.Version}}'], {
      timeoutMs: PROBE_TIMEOUT_MS,
      signal,
    });
  } catch (error) {
    if (error instanceof CommandError && error.missing) throw new Error('docker is not on the PATH');
    throw new Error(`no Docker engine answers (${messageOf(error)})`);
  }
}

/** Fetching an image may take long; it must not eat the time that the server has to come up. */
async function provideImage({ signal, tell }: FindOptions): Promise<void> {
  try {
    await runCommand('docker', ['image', 'inspect', REDIS_IMAGE], { timeoutMs: PROBE_TIMEOUT_MS, signal });
  } catch {
    tell(`Fetching the image ${REDIS_IMAGE}, once …`);
    await runCommand('docker', ['pull', '--quiet', REDIS_IMAGE], { timeoutMs: PULL_TIMEOUT_MS, signal });
  }
}

export function containerName(dir: string): string {
  return `sluice-redis-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`;
}
