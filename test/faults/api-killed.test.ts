/**
 * F14 (and F15): the API dies when a job is stored and its client does not know.
 */
import { afterEach, expect, it } from 'vitest';
import { openProxy } from '../support/proxy.js';
import { figure } from './figures.js';
import { isReady, openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const [tenant] = TENANTS;

let room: Room;
afterEach(() => room?.close());

it('killed before it answers: the same key is the same job, done once', async () => {
  room = await openRoom();
  const api = await room.stack.addApi();
  const proxy = await openProxy(Number(new URL(api.url).port));
  await until('the second API answers', 20_000, () => isReady(api));
  const way = { url: `http://127.0.0.1:${proxy.port}` };
  proxy.mute();
  const entry = room.ledger.open({ tenant, digits: [4], key: 'answer lost' });
  const lost = room.client.submit(entry, way);
  const stored = await until('the job is done', 20_000, async () => {
    const { body } = await room.client.ask(tenant, 'GET', '/v1/jobs', room.api);
    return body.data[0]?.status === 'succeeded' && (body.data[0].id as string);
  });

  api.process.kill('SIGKILL');
  proxy.cut();
  expect((await lost).is).toBe('unknown');
  expect(await room.client.submit(entry, room.api)).toMatchObject({ is: 'accepted', job: stored });
  await proxy.close();
  expect(violationsIn(await room.verdicts())).toEqual([]);
  figure('F14', 'jobs of one key after the API died before its answer', room.ledger.entries.length, '1');
});

it('killed before Redis has told it: the same key is the same job, done once', async () => {
  room = await openRoom();
  const way = await room.wayToRedis();
  const api = await room.stack.addApi({ REDIS_URL: way.url });
  const where = { url: api.url };
  await until('the second API answers', 20_000, () => isReady(api));
  way.muteAt(':idempotency:');
  const entry = room.ledger.open({ tenant, digits: [5], key: 'between two steps' });
  const lost = room.client.submit(entry, where);
  const stored = await until('the job is stored', 20_000, async () => {
    const { body } = await room.client.ask(tenant, 'GET', '/v1/jobs', room.api);
    return body.data[0] ? (body.data[0].id as string) : null;
  });

  api.process.kill('SIGKILL');
  expect((await lost).is).toBe('unknown');
  expect(await room.client.submit(entry, room.api)).toMatchObject({ is: 'accepted', job: stored });
  const [job] = await room.ended([stored]);
  expect(job?.status).toBe('succeeded');
  expect(violationsIn(await room.verdicts())).toEqual([]);
  figure('F15', 'jobs of one key after the API died between two steps', room.ledger.entries.length, '1');
});
