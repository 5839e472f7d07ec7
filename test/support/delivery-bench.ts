/**
 * The bench for tests of webhook delivery: a Redis prefix of its own, jobs that end, and the parts of the role one by one.
 * `close` closes everything that was opened here, in reverse order, and removes the keys.
 */
import { Queue } from 'bullmq';
import { Registry } from 'prom-client';
import { vi } from 'vitest';
import { type Clock, systemClock } from '../../shared/base/clock.js';
import { openFileBlobs } from '../../shared/blobs/filesystem.js';
import { loadConfig } from '../../shared/contract/config.js';
import { derivedId, newId } from '../../shared/contract/ids.js';
import type { JobError, JobSpec } from '../../shared/contract/job.js';
import { toBytes } from '../../shared/contract/tensors/elements.js';
import { packInstances } from '../../shared/contract/tensors/tensor.js';
import { createAddressRules } from '../../shared/contract/webhooks/address.js';
import type { Delivery } from '../../shared/contract/webhooks/delivery.js';
import { composeCore } from '../../shared/core/compose.js';
import { decodeEvent, type OutboxEvent } from '../../shared/core/webhooks/outbox.js';
import { WEBHOOKS_QUEUE } from '../../shared/queue/catalog.js';
import { openWebhookQueue } from '../../shared/queue/queues.js';
import { openRedis, type Purpose, type Redis } from '../../shared/redis/connect.js';
import { createAttempts } from '../../worker/delivery/attempts.js';
import { createCircuitBreaker } from '../../worker/delivery/circuit-breaker.js';
import { startDeliveryConsumer } from '../../worker/delivery/delivery-consumer.js';
import { createDispatcher } from '../../worker/delivery/dispatcher.js';
import { createDeliveryMetrics } from '../../worker/delivery/metrics.js';
import { createRecipients } from '../../worker/delivery/recipients.js';
import { startRelay } from '../../worker/delivery/relay.js';
import { startRequeue } from '../../worker/delivery/requeue.js';
import type { RetrySchedule } from '../../worker/delivery/retry-schedule.js';
import { startDelivery } from '../../worker/delivery/role.js';
import { createSender } from '../../worker/delivery/send.js';
import { idleConnections } from './connections.js';
import { openReceiver, type Receiver, type Respond } from './receiver.js';
import { temporaryFolder } from './started-redis.js';
import { settleJobs, startJobs } from './turns.js';

type Subscription = JobSpec['webhook'];
interface Delivering {
  registry: Registry;
  close(): Promise<void>;
}

export type DeliveryBench = Awaited<ReturnType<typeof openDeliveryBench>>;

const ALLOWED = '127.0.0.0/8';
/** A schedule of three attempts. */
export const SOON: RetrySchedule = {
  delaysMs: [20, 20],
  disableAfterMs: 3_600_000,
  longestRestMs: 10,
  random: () => 0.5,
};
const MAX_KEPT = 1000;
const SLOTS_PER_RECEIVER = 10;
const ROW = { y: { dtype: 'float32', shape: [2], data: toBytes(new Float32Array([0.5, 1])) } } as const;
/** Two rows, of which the second failed. */
const OUTPUT = packInstances([ROW, {}]);
const TRAITS = { alias: null, priority: 'standard', timeoutSeconds: 60, allowPartial: true } as const;

export async function openDeliveryBench(redisUrl: string, maxKept = MAX_KEPT) {
  const clock = systemClock;
  const prefix = `{t-${newId('req', clock.now()).slice(-12)}}`;
  const rules = createAddressRules([ALLOWED]);
  const closers: (() => unknown)[] = [];
  const errors: unknown[] = [];
  const onError = (_: string, error: unknown) => void errors.push(error);
  const open = (purpose: Purpose) => openRedis(redisUrl, purpose, (error) => onError('connection', error));

  async function opened(purpose: Purpose): Promise<Redis> {
    const connection = await open(purpose);
    closers.push(() => connection.disconnect());
    return connection;
  }

  const redis = await opened('work');
  closers.push(async () => {
    for await (const page of redis.scanStream({ match: `${prefix}:*`, count: 1000 }))
      if (page.length > 0) await redis.unlink(page);
  });
  const folder = temporaryFolder();
  closers.push(() => folder.remove());
  const config = {
    ...loadConfig({}),
    SLUICE_KEY_PREFIX: prefix,
    SLUICE_WEBHOOK_ALLOW_PRIVATE: ALLOWED,
    SLUICE_MAX_DELIVERIES_KEPT: maxKept,
  };
  const connections = idleConnections(redis, await openFileBlobs(folder.path, clock), { onError });
  const core = composeCore(config, connections);
  const { keys, jobs, executions, models, endpoints, deliveries, fanOut } = core;
  const webhookQueue = openWebhookQueue(redis, prefix, (error) => onError('queue', error));
  closers.push(() => webhookQueue.close());
  const queue = new Queue(WEBHOOKS_QUEUE, { connection: redis, prefix });
  closers.push(() => queue.close());

  const enqueue = (id: string, dueAt: number) => webhookQueue.add(id, Math.max(0, dueAt - clock.now()));

  async function submitted(webhook: Subscription, more: Partial<JobSpec> = {}): Promise<JobSpec> {
    const id = newId('job', clock.now());
    const named = { id, tenant: 'acme', model: 'm', version: 1, metadata: { order: '42' } };
    const spec: JobSpec = { ...TRAITS, ...named, instances: 2, webhook, retryOf: null, ...more };
    await core.jobWriter.write({ spec, ttlSeconds: 60, input: OUTPUT });
    return spec;
  }

  return {
    redis,
    keys,
    jobs,
    executions,
    models,
    endpoints,
    deliveries,
    log: core.deliveryLog,
    fanOut,
    /** The queue of deliveries as BullMQ sees it. */
    queue,
    enqueue,
    /** The errors that the parts reported. */
    errors,
    submitted,

    /** Runs a job that succeeds, so that its event is in the outbox. */
    async succeeded(
      webhook: Subscription,
      output = OUTPUT,
      more: Partial<JobSpec> = {},
      error: JobError | null = null,
    ): Promise<JobSpec> {
      const spec = await submitted(webhook, more);
      const started = await startJobs({ executions }, 'm', 1, `t-${spec.id}`, {
        maxInstances: 1000,
        maxBytes: 1e9,
      });
      const end = { error, usageMs: 1, timings: null };
      await settleJobs(
        { executions },
        'm',
        1,
        started.map((job) => ({ job, end, output: { inline: output, blob: null } })),
      );
      return spec;
    },

    async outbox(): Promise<OutboxEvent[]> {
      const entries = await redis.xrange(keys.outbox, '-', '+');
      return entries.map(([, fields]) => decodeEvent(fields));
    },

    async receive(respond: Respond): Promise<Receiver> {
      const receiver = await openReceiver(respond);
      closers.push(receiver.close);
      return receiver;
    },

    /** Starts the whole role. */
    async deliver({ allowed = ALLOWED, schedule = SOON } = {}): Promise<Delivering> {
      const registry = new Registry();
      const role = await startDelivery({
        config: { ...config, SLUICE_WEBHOOK_ALLOW_PRIVATE: allowed },
        connections,
        version: '0',
        open,
        registry,
        schedule,
      });
      let closing: Promise<void> | undefined;
      const close = () => (closing ??= role.close());
      closers.push(close);
      return { registry, close };
    },

    /** Starts a relay that gives every delivery to BullMQ. */
    async relay(reclaimMs = 10_000): Promise<{ close(): Promise<void> }> {
      const listen = await opened('listen');
      const queued: Promise<void>[] = [];
      const toQueue = (id: string, dueAt: number) =>
        void queued.push(enqueue(id, dueAt).catch((error: unknown) => onError('delivery', error)));
      const dispatcher = {
        start: ({ id, nextAt }: Delivery) => toQueue(id, nextAt),
        resume: (id: string) => toQueue(id, 0),
      };
      closers.push(() => Promise.all(queued));
      const parts = { redis, listen, keys, dispatcher, metrics: metricsOf(new Registry()), clock, onError };
      const relay = startRelay({ ...parts, fanOut, reclaimMs });
      closers.push(relay.close);
      return relay;
    },

    consume(consumerClock: Clock = clock): { close(): Promise<void> } {
      const sender = createSender({ clock: consumerClock, rules, version: '0', timeoutMs: 1e7 });
      const metrics = metricsOf(new Registry());
      const findRecipient = createRecipients(endpoints, clock);
      const { longestRestMs } = SOON;
      const breaker = createCircuitBreaker(consumerClock, {
        slotsPerReceiver: SLOTS_PER_RECEIVER,
        longestRestMs,
      });
      const parts = { deliveries, breaker, clock: consumerClock };
      const attempts = createAttempts({ ...parts, findRecipient, sender, schedule: SOON, metrics });
      const dispatcher = createDispatcher({ ...parts, attempts, enqueue, onError });
      const started = startDeliveryConsumer({ redis, prefix, deliveries, dispatcher, clock, onError });
      const consumer = {
        async close() {
          await dispatcher.close();
          await started.close();
        },
      };
      closers.push(sender.close, consumer.close);
      return consumer;
    },

    requeue(): { close(): Promise<void> } {
      const requeue = startRequeue({ queue: webhookQueue, deliveries, clock, onError });
      closers.push(requeue.close);
      return requeue;
    },

    async close(): Promise<void> {
      for (const close of closers.reverse()) await close();
    },
  };
}

function metricsOf(registry: Registry) {
  return createDeliveryMetrics(registry, systemClock, {
    outbox: async () => 0,
    pending: async () => 0,
    openCircuits: () => 0,
  });
}

/** Returns the id of the delivery to an endpoint, or to the own webhook of the event's job. */
export function deliveryIdOf(event: OutboxEvent | undefined, endpoint = 'job'): string {
  return event ? derivedId('dlv', event.at, event.id, endpoint) : 'of no event';
}

export function eventually(check: () => Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 8000, interval: 10 });
}
