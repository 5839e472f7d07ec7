/**
 * A real Redis for the tests: that of REDIS_URL, else a container where a Docker engine answers, else a server found as
 * the launcher finds its own. Tests ask for it with `inject('redisUrl')` and keep apart by a key prefix each.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { findRedisProgram } from '../../deploy/local/redis/find-redis.js';
import { type RedisServer, redisSettings, startRedisIn } from '../../deploy/local/redis/redis.js';
import type { RedisProgram } from '../../deploy/local/redis/redis-program.js';
import { loadConfig } from '../../shared/contract/config.js';

declare module 'vitest' {
  export interface ProvidedContext {
    redisUrl: string;
  }
}

interface TestRedis {
  url: string;
  origin: string;
  stop(): Promise<void>;
}

const CONTAINER_MEMORY_BYTES = 1024 ** 3;
const tell = (line: string) => void process.stdout.write(`${line}\n`);
let shared: TestRedis | undefined;

export async function setup(project: TestProject): Promise<void> {
  shared = configuredRedis() ?? (await containerRedis()) ?? (await localRedis());
  tell(`Redis for the tests: ${shared.origin}`);
  project.provide('redisUrl', shared.url);
}

export async function teardown(): Promise<void> {
  await shared?.stop();
}

/** A server of a test's own, to be killed and started again on the same folder. */
export async function startRedis(
  folder: string,
  port?: number,
  settings: readonly string[] = [],
): Promise<RedisServer> {
  const { SLUICE_CACHE_DIR: cacheDir } = loadConfig();
  const found = await findRedisProgram({ cacheDir, tell });
  const program: RedisProgram = {
    ...found,
    command: (how) => found.command({ ...how, redis: [...how.redis, ...settings] }),
  };
  return startRedisIn(folder, { cacheDir, tell, program, ...(port !== undefined && { port }) });
}

/** A new folder that goes with `remove`. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

function configuredRedis(): TestRedis | null {
  const { REDIS_URL: url } = loadConfig();
  return url ? { url, origin: 'the one of REDIS_URL', stop: async () => {} } : null;
}

async function containerRedis(): Promise<TestRedis | null> {
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

async function localRedis(): Promise<TestRedis> {
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
