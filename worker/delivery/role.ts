/**
 * The delivery role: opens its connections, wires relay and consumer, closes them in reverse.
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../../shared/base/clock.js';
import { type Config, list } from '../../shared/base/config.js';
import type { Purpose, Redis } from '../../shared/base/redis.js';
import { createErrorLog, type Logger } from '../../shared/base/telemetry.js';
import { createAddressRules } from '../../shared/contract/address.js';
import { createKeys } from '../../shared/core/keys.js';
import { createWebhooks } from '../../shared/core/webhooks.js';
import { WEBHOOKS_QUEUE } from '../../shared/queue/catalog.js';
import { openQueue } from '../../shared/queue/queues.js';
import { startConsumer } from './consumer.js';
import { createDeliveryMetrics } from './metrics.js';
import { startRelay } from './relay.js';
import { RETRY_DELAYS_MS, type Schedule } from './schedule.js';
import { createSender } from './send.js';

export interface DeliveryDeps {
  config: Pick<Config, 'SLUICE_KEY_PREFIX' | 'SLUICE_WEBHOOK_ALLOW_PRIVATE'>;
  /** Of the product, for the User-Agent. */
  version: string;
  open: (purpose: Purpose) => Promise<Redis>;
  log: Logger;
  registry: Registry;
  clock: Clock;
  schedule?: Schedule;
}

export async function createDeliveryRole(deps: DeliveryDeps): Promise<{ close(): Promise<void> }> {
  const { config, version, open, log, registry, clock } = deps;
  const schedule = deps.schedule ?? { delaysMs: RETRY_DELAYS_MS, random: Math.random };
  const prefix = config.SLUICE_KEY_PREFIX;
  const keys = createKeys(prefix);
  const rules = createAddressRules(list(config.SLUICE_WEBHOOK_ALLOW_PRIVATE));
  const onError = createErrorLog(log, clock);

  const [redis, listen] = await Promise.all([open('work'), open('listen')]);
  const webhooks = createWebhooks({ redis, keys, clock, rules });
  const queue = openQueue(redis, prefix, WEBHOOKS_QUEUE, (error) => onError('webhooks queue', error));
  const sender = createSender({ clock, rules, version });
  const metrics = createDeliveryMetrics(registry);
  const relay = startRelay({ redis, listen, keys, queue, webhooks, clock, onError });
  const consumer = startConsumer({ redis, prefix, webhooks, sender, clock, schedule, metrics, onError });

  return {
    async close() {
      await Promise.all([relay.close(), consumer.close()]);
      await Promise.all([queue.close(), sender.close()]);
      listen.disconnect();
      redis.disconnect();
    },
  };
}
