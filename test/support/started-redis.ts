/**
 * Starting a Redis for one test, from the program that the launcher would take; and a folder that goes with the test.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findRedisProgram } from '../../deploy/local/redis/find-redis.js';
import { type RedisServer, startRedisIn } from '../../deploy/local/redis/redis.js';
import type { RedisProgram } from '../../deploy/local/redis/redis-program.js';
import { loadConfig } from '../../shared/contract/config.js';

const tell = (line: string) => void process.stdout.write(`${line}\n`);

/** Starts a server in `folder`; a second start there serves what the first one wrote. `settings` are arguments of redis-server. */
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

/** Makes a new folder; `remove` deletes it with everything in it. */
export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
