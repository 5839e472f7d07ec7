/**
 * F28: receivers at their worst. They all run at once, so that their timeouts pass together.
 */
import { writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openReceiver, type Receiver } from '../support/receiver.js';
import { selfSigned } from '../support/self-signed.js';
import { temporaryFolder } from '../support/started-redis.js';
import { figure } from './figures.js';
import type { Manner } from './receivers.js';
import { openRoom, type Room, TENANTS } from './room.js';
import { until } from './until.js';
import { violationsIn } from './verdict-table.js';

/** The first delay of the schedule is 5 s and varies by a tenth. A slow machine may add to it. */
const PAUSE = [4500, 6000] as const;
const TWICE = [9000, 12_000] as const;
const ATTEMPT_MS = 15_000;
const SLOW_MACHINE_MS = 3000;
const READ_BYTES = 16 * 1024;
/** More deliveries than are attempted at once. */
const HANGING = 60;
const NEIGHBOURS = 10;
const NEIGHBOUR_MS = 5000;

const [tenant] = TENANTS;
const folder = temporaryFolder();
const trusted = selfSigned('trusted');

let room: Room;
let trap: Receiver;
beforeAll(async () => {
  const authority = join(folder.path, 'authority.pem');
  writeFileSync(authority, trusted.cert);
  room = await openRoom({ env: { NODE_EXTRA_CA_CERTS: authority } });
  trap = await openReceiver((response) => void response.end());
});
afterAll(async () => {
  await room?.close();
  await trap?.close();
  folder.remove();
});

/** Returns a receiver that does `first` at the first attempt and accepts the second. */
const atFirst =
  (first: (response: ServerResponse) => number): Manner =>
  (attempt, response) =>
    attempt === 1 ? first(response) : 204;

const redirect = (status: number) =>
  atFirst((response) => {
    response.writeHead(status, { location: trap.url }).end();
    return status;
  });

const throttle = (retryAfter: string) =>
  atFirst((response) => {
    response.writeHead(429, { 'retry-after': retryAfter }).end();
    return 429;
  });

/** Sends a header each second, so that it neither responds nor falls silent. */
const drip = atFirst((response) => {
  const { socket } = response;
  socket?.write('HTTP/1.1 200 OK\r\n');
  const timer = setInterval(() => socket?.write('x: y\r\n'), 1000);
  socket?.once('close', () => clearInterval(timer));
  return 0;
});

const breakOff = atFirst(({ socket }) => {
  socket?.write('HTTP/1.1 200 OK\r\ncontent-le');
  socket?.destroySoon();
  return 0;
});

const endless: Manner = (_, response) => {
  response.writeHead(200);
  const write = () => {
    while (!response.destroyed && response.write('x'.repeat(1024)));
  };
  response.on('drain', write);
  write();
  return 200;
};

interface Case {
  manner: Manner;
  /** The status in the record after the first attempt. */
  status: number | null;
  state: string;
  pauseMs?: readonly [number, number];
  /** True when the connection is cut instead of a response. */
  isCut?: boolean;
}

const retried = { state: 'pending', pauseMs: PAUSE };
const cases: Record<string, Case> = {
  'answers 204': { manner: () => 204, status: 204, state: 'delivered' },
  'answers 500': { manner: atFirst(() => 500), status: 500, ...retried },
  'answers 404': { manner: atFirst(() => 404), status: 404, ...retried },
  'answers 301': { manner: redirect(301), status: 301, ...retried },
  'answers 307': { manner: redirect(307), status: 307, ...retried },
  'answers 410': { manner: () => 410, status: 410, state: 'failed' },
  'asks for a minute': { manner: throttle('60'), status: 429, state: 'pending', pauseMs: TWICE },
  'asks for no pause': { manner: throttle('0'), status: 429, ...retried },
  'never answers': { manner: atFirst(() => 0), status: null, ...retried, isCut: true },
  'drips headers': { manner: drip, status: null, ...retried, isCut: true },
  'breaks off': { manner: breakOff, status: null, ...retried },
  'answers without end': { manner: endless, status: 200, state: 'delivered' },
};

async function submitTo(url: string): Promise<string> {
  const [id = ''] = await room.submitAll([{ tenant, digits: [2], webhook: { url } }]);
  return id;
}

/** Returns the record of the first attempt once it is made. */
async function afterFirst(job: string) {
  return until(`${job} is told or not`, ATTEMPT_MS + 10_000, async () => {
    const [delivery] = await room.deliveriesOf(job);
    return delivery && Number(delivery.attempts) > 0 ? delivery : null;
  });
}

it.concurrent.each(Object.entries(cases))('one that %s', async (_, expected) => {
  const receiver = await room.receive({ manner: expected.manner });
  const record = await afterFirst(await submitTo(receiver.url));
  const attempt = JSON.parse(record.lastAttempt ?? '');
  expect(record).toMatchObject({ attempts: '1', status: expected.state });
  expect(attempt.status).toBe(expected.status);
  expect(attempt.responseBody?.length ?? 0).toBeLessThanOrEqual(READ_BYTES);
  expect(attempt.latencyMs).toBeLessThanOrEqual(ATTEMPT_MS + SLOW_MACHINE_MS);
  if (expected.isCut) expect(attempt.latencyMs).toBeGreaterThanOrEqual(ATTEMPT_MS - 100);
  if (expected.pauseMs) {
    const pauseMs = Number(record.nextAt) - attempt.at - attempt.latencyMs;
    expect(pauseMs).toBeGreaterThanOrEqual(expected.pauseMs[0]);
    expect(pauseMs).toBeLessThanOrEqual(expected.pauseMs[1]);
  }
});

it.concurrent('one whose certificate nobody vouches for is not told until somebody does', async () => {
  const receiver = await room.receive({ certificate: selfSigned('unknown') });
  const record = await afterFirst(await submitTo(receiver.url));
  expect(record).toMatchObject({ attempts: '1', status: 'pending' });
  expect(JSON.parse(record.lastAttempt ?? '')).toMatchObject({
    status: null,
    error: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  });
  expect(receiver.received).toEqual([]);
  receiver.show(trusted);
});

it.concurrent('one that hangs, with more to be told than are told at once, delays no other', async () => {
  let hangs = true;
  const hanging = await room.receive({ manner: () => (hangs ? 0 : 204) });
  const order = { tenant, digits: [3], webhook: { url: hanging.url } };
  await room.submitAll(Array.from({ length: HANGING }, () => order));
  await until('it hangs', 10_000, () => hanging.received.length > 1);
  const healthy = await room.receive();
  const startedMs = performance.now();
  await room.submitAll(
    Array.from({ length: NEIGHBOURS }, () => ({ ...order, webhook: { url: healthy.url } })),
  );
  await healthy.has(NEIGHBOURS);
  const tookMs = performance.now() - startedMs;
  hangs = false;
  figure('F28', `${NEIGHBOURS} jobs told beside ${HANGING} that hang, seconds`, tookMs / 1000, '5');
  expect(tookMs).toBeLessThanOrEqual(NEIGHBOUR_MS);
});

it('in the end each is told once, rightly signed, and no redirect was followed', async () => {
  const verdicts = await room.verdicts();
  expect(violationsIn(verdicts)).toEqual([]);
  expect(trap.connections()).toBe(0);
  const { attempts = 0, deliveries = 0 } = verdicts[4]?.counts ?? {};
  figure('F28', `attempts of ${deliveries} deliveries, all verified`, attempts, '100 %');
});
