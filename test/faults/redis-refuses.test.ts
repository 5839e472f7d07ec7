/**
 * Redis is reached and will not serve: callers are told 503 and when to ask again, and work goes on once it serves.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/stack.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

const ANSWER_MS = 2700;
const RESUME_MS = 5000;
const ENDLESS = 'while true do end';

let room: Room;
let admin: Redis;
beforeAll(async () => {
  room = await openRoom();
  admin = new Redis(room.redis.url, { connectionName: 'test' });
  admin.on('error', () => undefined);
});
afterAll(async () => {
  admin?.disconnect();
  await room?.close();
});

const killAll = () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
const set = (name: string, value: string) => admin.config('SET', name, value);

interface Refusal {
  reply: string;
  make(): unknown;
  heal(): unknown;
}

const REFUSALS: Refusal[] = [
  {
    reply: 'NOREPLICAS: it has too few replicas',
    make: () => set('min-replicas-to-write', '1'),
    heal: () => set('min-replicas-to-write', '0'),
  },
  {
    reply: 'READONLY: it is a replica, and no other is the primary',
    make: async () => admin.replicaof('127.0.0.1', await freePort()),
    heal: () => admin.replicaof('NO', 'ONE'),
  },
  {
    reply: 'MASTERDOWN: it is a replica without its primary',
    async make() {
      await set('replica-serve-stale-data', 'no');
      await admin.replicaof('127.0.0.1', await freePort());
    },
    async heal() {
      await admin.replicaof('NO', 'ONE');
      await set('replica-serve-stale-data', 'yes');
    },
  },
  {
    reply: 'BUSY: a script does not end',
    async make() {
      await set('busy-reply-threshold', '50');
      const other = new Redis(room.redis.url, { connectionName: 'test' });
      other.on('error', () => undefined);
      void other.eval(ENDLESS, 0).catch(() => other.disconnect());
      await until('it is busy', RESUME_MS, () => admin.get('k').then(() => false, isBusy));
    },
    heal: () => admin.script('KILL'),
  },
  {
    reply: 'NOAUTH: its password was changed',
    async make() {
      await set('requirepass', 'changed');
      await killAll();
    },
    heal: () => set('requirepass', ''),
  },
  {
    reply: 'NOPERM: the user may not run scripts any more',
    make: () => admin.acl('SETUSER', 'default', '-evalsha', '-eval'),
    heal: () => admin.acl('SETUSER', 'default', '+@all'),
  },
  {
    reply: 'ERR max number of clients: others have taken all connections',
    async make() {
      await set('maxclients', '1');
      await killAll();
    },
    heal: () => set('maxclients', '10000'),
  },
];

const isBusy = (error: Error) => error.message.startsWith('BUSY');

describe('when Redis refuses with', () => {
  it.each(REFUSALS)('$reply', { timeout: 60_000 }, async ({ make, heal }) => {
    const { client, ledger, api } = room;
    const [before] = await room.submitAll([{ tenant: TENANTS[0], digits: [1] }]);
    await room.ended([before as string]);
    await make();
    try {
      const entry = ledger.open({ tenant: TENANTS[0], digits: [2], key: `meanwhile ${before}` });
      const reply = await client.ask(TENANTS[0], 'POST', '/v1/jobs', api, ledger.bodyOf(entry), entry.key);
      expect(reply).toMatchObject({ status: 503, body: { code: 'unavailable', retryable: true } });
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(reply.tookMs).toBeLessThanOrEqual(ANSWER_MS);
    } finally {
      await heal();
    }
    const after = ledger.open({ tenant: TENANTS[0], digits: [3], key: `after ${before}` });
    const answer = await client.insist(after, () => api, RESUME_MS);
    expect(answer.is).toBe('accepted');
    if (answer.is === 'accepted') await room.ended([answer.job]);
  });

  it('nothing is lost or done twice by any of it', async () => {
    await until('the API answers', RESUME_MS, async () => (await fetch(`${room.api.url}/readyz`)).ok);
    expect(violationsIn(await room.verdicts())).toEqual([]);
  });
});
