/**
 * Once a run, before the first test of a suite that starts programs: the tests' own programs are compiled into `.build`, so
 * that none is older than its source, and a Redis is found or started.
 *
 * The Redis is that of REDIS_URL, else a container where a Docker engine answers, else a server found as the launcher
 * finds its own. Tests ask for it with `inject('redisUrl')` and keep apart by a key prefix each.
 */
import { execFileSync } from 'node:child_process';
import type { TestProject } from 'vitest/node';
import { redisSettings } from '../../deploy/local/redis/redis.js';
import { loadConfig } from '../../shared/contract/config.js';
import { ROOT } from './stack.js';
import { startRedis, temporaryFolder } from './started-redis.js';

declare module 'vitest' {
  export interface ProvidedContext {
    redisUrl: string;
  }
}

interface SharedRedis {
  url: string;
  origin: string;
  stop(): Promise<void>;
}

const CONTAINER_MEMORY_BYTES = 1024 ** 3;
let shared: SharedRedis | undefined;

export async function setup({ vitest }: TestProject): Promise<void> {
  const root = vitest.getRootProject();
  // Each suite calls this function from a module of its own, so the root project remembers that one did.
  if (root.getProvidedContext().redisUrl) return;
  execFileSync('npm', ['run', '--silent', 'build:test'], { cwd: ROOT, stdio: 'inherit' });
  shared = configuredRedis() ?? (await containerRedis()) ?? (await localRedis());
  process.stdout.write(`Redis for the tests: ${shared.origin}\n`);
  root.provide('redisUrl', shared.url);
}

export async function teardown(): Promise<void> {
  await shared?.stop();
}

function configuredRedis(): SharedRedis | null {
  const { REDIS_URL: url } = loadConfig();
  return url ? { url, origin: 'the one of REDIS_URL', stop: async () => {} } : null;
}

async function containerRedis(): Promise<SharedRedis | null> {
  const { GenericContainer, getContainerRuntimeClient } = await import('testcontainers');
  try {
    await getContainerRuntimeClient();
  } catch {
    return null; // No engine answers, as on a bare machine: a local server serves as well.
  }
  const container = await new GenericContainer('redis:7')
    .withCommand([
      'redis-server',
      '--bind',
      '0.0.0.0',
      '--protected-mode',
      'no',
      ...redisSettings(CONTAINER_MEMORY_BYTES),
    ])
    .withExposedPorts(6379)
    .start();
  return {
    url: `redis://${container.getHost()}:${container.getMappedPort(6379)}`,
    origin: 'a container of redis:7, by testcontainers',
    stop: async () => void (await container.stop()),
  };
}

async function localRedis(): Promise<SharedRedis> {
  const folder = temporaryFolder();
  const server = await startRedis(folder.path);
  return {
    url: server.url,
    origin: server.origin,
    async stop() {
      await server.stop();
      folder.remove();
    },
  };
}
