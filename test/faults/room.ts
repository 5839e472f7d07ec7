/**
 * The room in which faults are made: Sluice as built, on a Redis of its own, with a ledger, receivers and a checker.
 *
 * `close` ends everything that a test opened here, last opened first.
 */
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { systemClock } from '../../shared/base/clock.js';
import type { JobView } from '../../shared/contract/job-view.js';
import { JOB_EVENTS } from '../../shared/contract/webhooks/events.js';
import { createApiKeys } from '../../shared/core/access/api-keys.js';
import { createKeys } from '../../shared/redis/keys.js';
import { type OwnRedis, openOwnRedis } from '../support/own-redis.js';
import { openProxy, type TcpProxy } from '../support/proxy.js';
import type { Receiver } from '../support/receiver.js';
import { type Stack, startStack } from '../support/stack.js';
import { check, type Verdict } from './checker.js';
import { type Client, createClient, type Where } from './client.js';
import { collect, readDeliveries, unrest } from './collect.js';
import { type Order, TERMINAL } from './evidence.js';
import { createLedger, type Ledger } from './ledger.js';
import { openBookkeeper, type ReceiverOptions } from './receivers.js';
import { until } from './until.js';

export interface Room {
  redis: OwnRedis;
  stack: Stack;
  ledger: Ledger;
  client: Client;
  /** The first API. */
  api: Where;
  /** A way to the records past all faults. */
  records: Redis;
  /** Opens a receiver of the first tenant's, unless told otherwise. */
  receive(options?: Partial<ReceiverOptions>): Promise<Receiver>;
  /** A receiver that is an endpoint of its tenant, told of jobs' ends unless told otherwise. */
  endpoint(events?: readonly string[], options?: Partial<ReceiverOptions>): Promise<Receiver>;
  /** A way to Redis that can be cut; `url` goes into the environment of a process. */
  wayToRedis(): Promise<TcpProxy & { url: string }>;
  /** Resolves once `count` workers take jobs, of all that were ever started. */
  serving(count: number): Promise<void>;
  /** Submits them, some at the same time; resolves with their ids when all are accepted. */
  submitAll(orders: readonly Order[]): Promise<string[]>;
  /** Records of what a job's end was told with. */
  deliveriesOf(job: string): Promise<Record<string, string>[]>;
  /** Jobs of the first tenant that are computed now, a hundred at most. */
  running(): Promise<string[]>;
  /** Resolves once all of them have ended; they are the first tenant's, unless told otherwise. */
  ended(ids: readonly string[], tenant?: string): Promise<JobView[]>;
  /** Waits until nothing is left to do, and judges. */
  verdicts(options?: VerdictOptions): Promise<Verdict[]>;
  close(): Promise<void>;
}

export interface VerdictOptions {
  /** Connections to addresses that may not be called. */
  trapped?: number;
  restMs?: number;
  /** Hears what is not at rest yet, whenever that changes. */
  tell?: (unrest: string) => void;
}

export interface RoomOptions {
  /** Starts the Redis of the room. */
  startRedis?: () => Promise<OwnRedis>;
  env?: Record<string, string>;
  workers?: number;
}

export const TENANTS = ['ann', 'bob'] as const;
/** Until all have come to rest: a lost worker's jobs come back after 12 s, a first retry of a webhook after 5 s. */
const REST_MS = 60_000;
const READY_MS = 60_000;
const LANES = 8;
const WAIT_SECONDS = 20;

export async function openRoom({
  env = {},
  workers = 1,
  startRedis = openOwnRedis,
}: RoomOptions = {}): Promise<Room> {
  const closers: (() => unknown)[] = [];
  const close = async () => {
    for (let next = closers.pop(); next; next = closers.pop()) await next();
  };
  try {
    const redis = await startRedis();
    closers.push(() => redis.close());
    const records = openRecords(redis.url);
    closers.push(() => records.disconnect());
    const stack = await startStack(
      redis.url,
      { SLUICE_MODELS: 'mnist', LOG_LEVEL: 'debug', ...env },
      workers,
    );
    closers.push(() => stack.close());
    const apiKeys = await addTenants(records, stack.prefix);
    const room = furnish(redis, records, stack, apiKeys, closers, close);
    await until('the API answers', READY_MS, () => isReady(room.api));
    await room.serving(workers);
    return room;
  } catch (error) {
    await close();
    throw error;
  }
}

function furnish(
  redis: OwnRedis,
  records: Redis,
  stack: Stack,
  apiKeys: Record<string, string>,
  closers: (() => unknown)[],
  close: () => Promise<void>,
): Room {
  const ledger = createLedger();
  const client = createClient(ledger, apiKeys);
  const api = { url: stack.url };
  const { prefix } = stack;
  const sources = { ledger, client, api, tenants: TENANTS, records, prefix };

  async function submitAll(orders: readonly Order[]): Promise<string[]> {
    const ids: string[] = new Array(orders.length);
    let next = 0;
    const lane = async () => {
      for (let i = next++; i < orders.length; i = next++) {
        const answer = await client.submit(ledger.open(orders[i] as Order), api);
        if (answer.is !== 'accepted') throw new Error(`not accepted: ${JSON.stringify(answer)}`);
        ids[i] = answer.job;
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return ids;
  }

  const room: Room = {
    redis,
    stack,
    ledger,
    client,
    api,
    records,
    submitAll,
    async receive(options = {}) {
      const { tenant = TENANTS[0] } = options;
      const { body } = await client.ask(tenant, 'GET', '/v1/webhook-secret', api);
      const receiver = await openBookkeeper({ secret: () => body.secret, ...options, ledger, tenant });
      closers.push(() => receiver.close());
      return receiver;
    },
    async endpoint(events = JOB_EVENTS, options = {}) {
      const { tenant = TENANTS[0] } = options;
      let secret = '';
      const receiver = await room.receive({ ...options, secret: () => secret });
      const body = JSON.stringify({ url: receiver.url, events });
      const made = await client.ask(tenant, 'POST', '/v1/webhook-endpoints', api, body);
      if (made.status !== 201) throw new Error(`no endpoint: ${JSON.stringify(made.body)}`);
      secret = made.body.secret;
      ledger.endpoints.push({ id: made.body.id, tenant, events });
      return receiver;
    },
    async wayToRedis() {
      const proxy = await openProxy(redis.port);
      closers.push(() => proxy.close());
      return { ...proxy, url: `redis://127.0.0.1:${proxy.port}` };
    },
    async serving(count) {
      const served = () => stack.output().split('"msg":"worker serves"').length > count;
      await until(`${count} workers serve`, READY_MS, served).catch((error: Error) => {
        throw new Error(`${error.message}\n${stack.output()}`);
      });
    },
    async deliveriesOf(job) {
      const made = (await readDeliveries({ records, prefix })).filter((each) => each.job === job);
      return Promise.all(made.map(({ id }) => records.hgetall(`${prefix}:delivery:${id}`)));
    },
    async running() {
      const path = '/v1/jobs?status=running&limit=100';
      const { body } = await client.ask(TENANTS[0], 'GET', path, api);
      return body.data.map(({ id }: JobView) => id);
    },
    ended: (ids, tenant = TENANTS[0]) =>
      Promise.all(
        ids.map((id) =>
          until(`${id} ends`, REST_MS, async () => {
            const view = await client.look(tenant, id, api, WAIT_SECONDS);
            return view && TERMINAL.includes(view.status) ? view : null;
          }),
        ),
      ),
    async verdicts({ trapped = 0, restMs = REST_MS, tell } = {}) {
      let why: string | null = null;
      await until('rest', restMs, async () => {
        const before = why;
        why = await unrest(sources);
        if (why !== null && why !== before) tell?.(why);
        return why === null;
      }).catch((error: Error) => {
        throw new Error(`${error.message}: ${why}`);
      });
      return check(await collect({ ...sources, logs: stack.output(), trapped }));
    },
    close,
  };
  return room;
}

function openRecords(url: string): Redis {
  const records = new Redis(url, {
    connectionName: 'test',
    retryStrategy: () => 100,
    maxRetriesPerRequest: null,
  });
  records.on('error', () => {}); // It is killed on purpose.
  return records;
}

async function addTenants(redis: Redis, prefix: string): Promise<Record<string, string>> {
  const access = createApiKeys({ redis, keys: createKeys(prefix), clock: systemClock });
  const apiKeys: Record<string, string> = {};
  for (const tenant of TENANTS) {
    apiKeys[tenant] = `slk_${randomBytes(16).toString('hex')}`;
    await access.addKey(apiKeys[tenant], tenant, ['*']);
  }
  return apiKeys;
}

export async function isReady({ url }: Where): Promise<boolean> {
  const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
  await response?.body?.cancel();
  return response?.status === 200;
}
