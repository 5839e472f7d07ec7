/**
 * Scales an outage of an hour: the delivery role runs on a schedule whose hours last half a minute.
 */
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { systemClock as clock, sleep, toTimestamp } from '../../../shared/base/clock.js';
import { openFileBlobs } from '../../../shared/blobs/filesystem.js';
import { loadConfig } from '../../../shared/contract/config.js';
import { newId } from '../../../shared/contract/ids.js';
import { composeCore } from '../../../shared/core/compose.js';
import type { Deliveries } from '../../../shared/core/webhooks/deliveries.js';
import { openRedis, type Purpose } from '../../../shared/redis/connect.js';
import { RETRY_DELAYS_MS, RETRY_SCHEDULE } from '../../../worker/delivery/retry-schedule.js';
import { startDelivery } from '../../../worker/delivery/role.js';
import { idleConnections } from '../../support/connections.js';
import type { Site } from '../site.js';
import { openRedisFor } from '../systems.js';
import { ALLOWED, openReceiver, until } from './receivers.js';

export type Line = [what: string, asked: string, measured: string];

/** The factor by which the schedule is shortened: an hour lasts half a minute. */
const SCALE = 1 / 120;
const OUTAGE_MS = 3_600_000 * SCALE;
const OUTAGE_EVENTS = 100;
/** A shorter pause would measure timers and queues instead of the schedule. */
const LEAST_PAUSE_MS = 1000;

/** Sends events at different times through a whole outage, and compares their attempts with the scaled schedule. */
export async function outage(site: Site): Promise<Line[]> {
  const redisServer = await openRedisFor(site, 'outage');
  const open = (purpose: Purpose) => openRedis(redisServer.url, purpose, () => undefined);
  const redis = await open('work');
  site.defer(async () => redis.disconnect());
  const config = {
    ...loadConfig({}),
    SLUICE_KEY_PREFIX: '{outage}',
    SLUICE_WEBHOOK_ALLOW_PRIVATE: ALLOWED,
  };
  const blobs = await openFileBlobs(join(site.folder, 'outage-blobs'), clock);
  const connections = idleConnections(redis, blobs);
  const { endpoints, deliveries } = composeCore(config, connections);
  const delaysMs = RETRY_DELAYS_MS.map((ms) => ms * SCALE);
  const role = await startDelivery({
    config,
    connections,
    version: 'bench',
    open,
    registry: new Registry(),
    schedule: {
      ...RETRY_SCHEDULE,
      delaysMs,
      disableAfterMs: Number.POSITIVE_INFINITY,
      longestRestMs: RETRY_SCHEDULE.longestRestMs * SCALE,
    },
  });
  site.defer(() => role.close());

  const back = await openReceiver(site, false);
  const { endpoint } = await endpoints.create('bench', { url: back.url });
  const startMs = clock.monotonic();
  const ids: string[] = [];
  for (let nth = 0; nth < OUTAGE_EVENTS; nth++) {
    await sleep(clock, (nth / OUTAGE_EVENTS) * OUTAGE_MS - (clock.monotonic() - startMs), site.signal);
    const at = clock.now();
    const body = JSON.stringify({ type: 'job.succeeded', timestamp: toTimestamp(at), data: {} });
    const made = {
      tenant: 'bench',
      type: 'job.succeeded',
      job: null,
      body,
      at,
      event: newId('evt', at),
    } as const;
    const { id } = await deliveries.create({ ...made, to: endpoint });
    await deliveries.replay(id);
    ids.push(id);
  }
  await back.listen();
  await until(site, 4 * OUTAGE_MS, async () => (await deliveries.pending()) === 0);
  return judgeOutage(deliveries, ids, delaysMs);
}

async function judgeOutage(deliveries: Deliveries, ids: string[], delaysMs: number[]): Promise<Line[]> {
  const made = await Promise.all(ids.map((id) => deliveries.get(id)));
  const delivered = made.filter((each) => each?.status === 'delivered').length;
  const offBy: number[] = [];
  for (const id of ids) {
    const attempts = await deliveries.attemptsOf(id);
    for (const [i, { at, latencyMs }] of attempts.entries()) {
      const next = attempts[i + 1];
      const dueMs = delaysMs[i] ?? Number.NaN;
      if (next && dueMs >= LEAST_PAUSE_MS) offBy.push(Math.abs((next.at - at - latencyMs) / dueMs - 1));
    }
  }
  const worst = `at most ${(100 * Math.max(...offBy)).toFixed(0)} % off, of ${offBy.length} pauses (± 10 % by chance)`;
  return [
    [
      'told after an outage of a scaled hour',
      '100 %',
      `${((100 * delivered) / ids.length).toFixed(0)} % of ${ids.length}`,
    ],
    ['pauses between its attempts', '± 20 %', worst],
  ];
}
