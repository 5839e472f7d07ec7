/**
 * Redis in a container, the last way to find one; it needs a Docker engine that answers.
 *
 * The container runs in the foreground, so the docker command stands for it: the command passes SIGTERM on and ends with
 * the container. A command killed by SIGKILL leaves its container running. The container's name is made from the data
 * folder, so the next launcher knows which one to remove.
 */
import { createHash } from 'node:crypto';
import { messageOf } from '../../../shared/base/errors.js';
import { CommandError, runCommand } from '../../run-command.js';
import type { FindOptions, RedisProgram } from './redis-program.js';

export const REDIS_IMAGE = 'redis:7';
const PROBE_TIMEOUT_MS = 5000;
const PULL_TIMEOUT_MS = 300_000;
const REMOVE_TIMEOUT_MS = 15_000;

/** Resolves to a Redis in a container; rejects when no Docker engine answers or the image cannot be fetched. */
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
        // The files must belong to the user of the launcher; the image's own entry point would give them to another.
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

/** Fetches the image beforehand, because that may take longer than the server is given to come up. */
async function provideImage({ signal, tell }: FindOptions): Promise<void> {
  try {
    await runCommand('docker', ['image', 'inspect', REDIS_IMAGE], { timeoutMs: PROBE_TIMEOUT_MS, signal });
  } catch {
    tell(`Fetching the image ${REDIS_IMAGE}, once …`);
    await runCommand('docker', ['pull', '--quiet', REDIS_IMAGE], { timeoutMs: PULL_TIMEOUT_MS, signal });
  }
}

/** Returns the name of the container that serves the data in `dir`. */
export function containerName(dir: string): string {
  return `sluice-redis-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`;
}
