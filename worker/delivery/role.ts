/**
 * The delivery role: opens its connections, wires the parts, and closes them in reverse.
 */
import type { Registry } from 'prom-client';
import { list } from '../../shared/base/config.js';
import type { Config } from '../../shared/contract/config.js';
import { createAddressRules } from '../../shared/contract/webhooks/address.js';
import { type CoreConnections, composeCore } from '../../shared/core/compose.js';
import { openWebhookQueue } from '../../shared/queue/queues.js';
import type { Purpose, Redis } from '../../shared/redis/connect.js';
import { createAttempts } from './attempts.js';
import { createCircuitBreaker } from './circuit-breaker.js';
import { startDeliveryConsumer } from './delivery-consumer.js';
import { createDispatcher } from './dispatcher.js';
import { createDeliveryMetrics } from './metrics.js';
import { createRecipients } from './recipients.js';
import { startRelay } from './relay.js';
import { startRequeue } from './requeue.js';
import { RETRY_SCHEDULE, type RetrySchedule } from './retry-schedule.js';
import type { Sender } from './send.js';

/** Attempts at once to one receiver. */
const SLOTS_PER_RECEIVER = 50;

export interface DeliveryRoleDeps {
  config: Config;
  /** The connections of the worker; the role opens its own to Redis, so that webhooks do not delay jobs. */
  connections: Omit<CoreConnections, 'redis'>;
  /** Sluice's version, for the User-Agent header. */
  version: string;
  open: (purpose: Purpose) => Promise<Redis>;
  registry: Registry;
  schedule?: RetrySchedule;
}

/**
 * Starts the delivery role. `close` resolves when no attempt is under way, at the latest when the grace of the attempts ends.
 *
 * @throws {ConfigError} when SLUICE_WEBHOOK_ALLOW_PRIVATE lists something that is not a CIDR
 */
export async function startDelivery(deps: DeliveryRoleDeps): Promise<{ close(): Promise<void> }> {
  const { config, connections, version, open, registry } = deps;
  const { clock, onError } = connections;
  const schedule = deps.schedule ?? RETRY_SCHEDULE;
  const prefix = config.SLUICE_KEY_PREFIX;
  const rules = createAddressRules(list(config.SLUICE_WEBHOOK_ALLOW_PRIVATE));

  // BullMQ's commands have a connection of their own: ioredis builds every pipeline with all scripts of its connection.
  const [redis, queueRedis, listen] = await Promise.all([open('work'), open('work'), open('listen')]);
  const { keys, endpoints, deliveries, fanOut } = composeCore(config, { ...connections, redis });
  const queue = openWebhookQueue(queueRedis, prefix, (error) => onError('webhooks queue', error));
  let opened: Promise<Sender> | null = null;
  // undici is a hundred modules and 10 MB, which a worker saves until somebody has a webhook.
  const openSender = async () => (await import('./send.js')).createSender({ clock, rules, version });
  const send: Sender['send'] = async (...attempt) => {
    opened ??= openSender();
    return (await opened).send(...attempt);
  };
  const { longestRestMs } = schedule;
  const breaker = createCircuitBreaker(clock, { slotsPerReceiver: SLOTS_PER_RECEIVER, longestRestMs });
  const outbox = () => redis.xlen(keys.outbox);
  const metrics = createDeliveryMetrics(registry, clock, {
    outbox,
    pending: deliveries.pending,
    openCircuits: breaker.openCircuits,
  });
  const findRecipient = createRecipients(endpoints, clock);
  const enqueue = (id: string, dueAt: number) => queue.add(id, Math.max(0, Math.ceil(dueAt - clock.now())));
  const attempts = createAttempts({
    deliveries,
    findRecipient,
    sender: { send },
    breaker,
    clock,
    schedule,
    metrics,
  });
  const dispatcher = createDispatcher({ attempts, breaker, deliveries, clock, enqueue, onError });
  const relay = startRelay({ redis, listen, keys, dispatcher, fanOut, metrics, clock, onError });
  const requeue = startRequeue({ queue, deliveries, clock, onError });
  const consumer = startDeliveryConsumer({
    redis: queueRedis,
    prefix,
    deliveries,
    dispatcher,
    clock,
    onError,
  });

  return {
    async close() {
      await Promise.all([dispatcher.close(), relay.close(), requeue.close(), consumer.close()]);
      await dispatcher.ended();
      await Promise.all([queue.close(), opened?.then(({ close }) => close())]);
      for (const connection of [listen, queueRedis, redis]) connection.disconnect();
    },
  };
}
