/**
 * F5: processes are told to stop while Redis is away: dead, frozen, or behind a network that swallows everything.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { IS_LONG } from '../support/long.js';
import { exited } from '../support/stack.js';
import { figure } from './figures.js';
import { openRoom, type Room } from './room.js';
import { startSteady } from './steady.js';
import { until } from './until.js';

/** The bound of every process is 25 s; one that finds Redis away gives up after 5. */
const STOP_MS = 15_000;
const ROLES = ['inference', 'delivery', 'batches', 'upkeep'];

let room: Room;
afterEach(async () => {
  room?.redis.thaw();
  await room?.close();
});

interface Fault {
  name: string;
  make(way: Awaited<ReturnType<Room['wayToRedis']>>): unknown;
}

const DEAD: Fault = { name: 'dead', make: () => room.redis.kill() };
/** They take a while, and end in the same place. */
const OTHERS: Fault[] = [
  { name: 'frozen', make: () => room.redis.freeze() },
  { name: 'unreachable without a word', make: (way) => way.silence() },
];

describe('told to stop while Redis is', () => {
  it.each(IS_LONG ? [DEAD, ...OTHERS] : [DEAD])(
    '$name, every process ends within 15 s',
    async ({ name, make }) => {
      room = await openRoom();
      const way = await room.wayToRedis();
      const env = { REDIS_URL: way.url };
      const api = await room.stack.addApi(env);
      // Processes with one role may hang for reasons of their own.
      const workers = [...ROLES, ROLES.join(',')].map((roles) => ({
        roles,
        process: room.stack.addWorker({ ...env, SLUICE_ROLES: roles }),
      }));
      await room.serving(1 + workers.length);
      const load = startSteady(room);
      await until('jobs come in', 20_000, () => load.accepted.length >= 50);

      await make(way);
      const toldMs = performance.now();
      const all = [{ roles: 'api', process: api.process }, ...workers];
      const ends = await Promise.all(
        all.map(async ({ roles, process }) => {
          process.kill('SIGTERM');
          await exited(process);
          return { roles, seconds: (performance.now() - toldMs) / 1000 };
        }),
      );
      for (const { roles, seconds } of ends)
        figure('F5', `${roles} stopped, Redis ${name}, seconds`, seconds, '25');
      for (const { seconds } of ends) expect(seconds * 1000).toBeLessThanOrEqual(STOP_MS);
      way.heal();
      room.redis.thaw();
      if (name === 'dead') await room.redis.restart();
      await load.stop();
    },
  );
});
