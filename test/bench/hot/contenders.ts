/**
 * The contenders beside Sluice: the rival, with a Redis of its own, and the bare route.
 */
import { NODE_ENVIRONMENT } from '../../../deploy/local/process.js';
import { freePort, type RedisServer } from '../../../deploy/local/redis/redis.js';
import type { Site } from '../site.js';
import { endProgram, type Program, pidOf, type System, startProgram, untilReady } from '../systems.js';
import { modelFolder } from './test-digits.js';

export interface StartedRival {
  system: System;
  stop(): Promise<unknown>;
}

/** Starts a rival whose worker runs so many jobs at a time; `name` names its log. */
export async function startRival(
  site: Site,
  name: string,
  redis: RedisServer,
  concurrency: number,
): Promise<StartedRival> {
  const environment = { REDIS_URL: redis.url, MODEL_FOLDER: modelFolder(), CONCURRENCY: String(concurrency) };
  const { program, origin } = await startServer(site, name, 'test/bench/hot/rival.js', environment);
  return { system: systemOf(program, origin, redis), stop: () => endProgram(program) };
}

/** Starts the bare route, in the environment of Sluice's API. `answer` is the text of a finished job. */
export async function startBareRoute(site: Site, answer: string): Promise<System> {
  const entry = 'test/bench/hot/bare-route.js';
  const { program, origin } = await startServer(site, 'bare-route', entry, {
    ...NODE_ENVIRONMENT,
    ANSWER: answer,
  });
  return systemOf(program, origin, null);
}

async function startServer(site: Site, name: string, entry: string, environment: Record<string, string>) {
  const port = await freePort();
  const program = startProgram(site, name, entry, { ...environment, PORT: String(port) });
  const origin = `http://127.0.0.1:${port}`;
  // Any answer will do: it listens once all else is ready.
  await untilReady(site, [program], async () => (await fetch(origin)).status > 0);
  return { program, origin };
}

function systemOf(program: Program, origin: string, redis: RedisServer | null): System {
  return { origin, apiKey: '', pids: [pidOf(program)], redis };
}
