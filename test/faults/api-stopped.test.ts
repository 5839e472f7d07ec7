/**
 * F4: an API is told to stop while clients keep their connections busy.
 */
import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { exited } from '../support/stack.js';
import { figure } from './figures.js';
import { isReady, openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const CLIENTS = 4;
const STOP_MS = 10_000;

let room: Room;
afterEach(() => room?.close());

it('it answers what it has, takes leave of every caller, and ends', async () => {
  room = await openRoom();
  const { client, ledger } = room;
  const api = await room.stack.addApi();
  await until('the second API answers', 20_000, () => isReady(api));
  let isOver = false;
  let accepted = 0;
  const keepBusy = async () => {
    while (!isOver) {
      const entry = ledger.open({ tenant: TENANTS[0], digits: [6], key: randomUUID() });
      const answer = await client.submit(entry, api);
      if (answer.is === 'accepted') accepted++;
      else await client.insist(entry, () => room.api, STOP_MS);
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, keepBusy));
  await until('clients are busy', 10_000, () => accepted > 50);

  const toldMs = performance.now();
  api.process.kill('SIGTERM');
  const code = await exited(api.process);
  const tookMs = performance.now() - toldMs;
  isOver = true;
  await clients;
  figure('F4', 'an API stopped under load, seconds', tookMs / 1000, 'answers + 2');
  expect(code).toBe(0);
  expect(tookMs).toBeLessThanOrEqual(STOP_MS);
  expect(violationsIn(await room.verdicts())).toEqual([]);
});
