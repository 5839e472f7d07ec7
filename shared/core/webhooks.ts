/**
 * Webhooks: a job's end (an event in the outbox) -> a delivery -> what became of it.
 *
 *   pending -> delivered      a receiver answered 2xx
 *   pending -> failed         the schedule ran out, or the receiver answered 410
 *
 * Promises: one delivery per event and subscription, however often it is made; its body is built once, so every attempt
 * carries the same bytes under the same id; a delivery that has ended never changes. The record is the truth about
 * attempts and about when the next is due, the queue only carries ids.
 */
import { type Clock, toTimestamp } from '../base/clock.js';
import { invalid } from '../base/errors.js';
import { defineScript, type Redis } from '../base/redis.js';
import { type AddressRules, urlFault } from '../contract/address.js';
import { type JobRecord, presentJob } from '../contract/job.js';
import { presentPredictions } from '../contract/prediction.js';
import { newSigningSecret } from '../contract/signing.js';
import { type JobEvent, MAX_PREDICTIONS_BYTES, type WebhookBody } from '../contract/webhook.js';
import type { Keys } from './keys.js';
import { decodeRecord, RECORD_FIELDS } from './record.js';

const KEPT_SECONDS = 30 * 86_400;
/** Packed outputs above this are not even read: their JSON cannot be as small as a body's limit. */
const MAX_PACKED_BYTES = 256 * 1024;

/** An entry of the outbox, as the script that ends a job writes it. */
export interface OutboxEvent {
  id: string;
  type: JobEvent;
  job: string;
  /** When it happened, milliseconds since the Unix epoch. */
  at: number;
}

export type DeliveryState = 'pending' | 'delivered' | 'failed';

export interface Delivery {
  /** The `webhook-id` of every attempt. */
  id: string;
  tenant: string;
  url: string;
  type: JobEvent;
  body: string;
  /** When its event happened. */
  at: number;
  state: DeliveryState;
  /** Attempts made. */
  attempts: number;
  /** Not to be attempted before. */
  nextAt: number;
}

export interface DeliveryAttempt {
  at: number;
  /** Of the HTTP answer; null when there was none, and `error` says why. */
  status: number | null;
  error: string | null;
  latencyMs: number;
  responseBody: string | null;
}

export interface WebhooksDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  rules: AddressRules;
}

export type Webhooks = ReturnType<typeof createWebhooks>;

export function createWebhooks({ redis, keys, clock, rules }: WebhooksDeps) {
  const createScript = defineScript<DeliveryState>(redis, 'sluiceCreateDelivery', CREATE);
  const recordScript = defineScript<number>(redis, 'sluiceRecordAttempt', RECORD);

  /** Throws `url_not_allowed`; `path` is where the URL stands in the body. */
  function checkUrl(url: string, path = '/webhook/url'): void {
    const message = urlFault(url, rules);
    if (message) throw invalid([{ path, message }], 'url_not_allowed');
  }

  /** The tenant's own secret, made when it is first needed; all processes get the same. */
  async function signingSecret(tenant: string): Promise<string> {
    const key = keys.signingSecret(tenant);
    const known = await redis.get(key);
    if (known) return known;
    const made = newSigningSecret();
    return (await redis.set(key, made, 'NX')) ? made : ((await redis.get(key)) ?? made);
  }

  /** Makes the delivery of `event`, unless it is made already; null when its job is no longer kept. */
  async function createDelivery(event: OutboxEvent): Promise<Pick<Delivery, 'id' | 'state'> | null> {
    const record = decodeRecord(await redis.hmget(keys.job(event.job), ...RECORD_FIELDS));
    const webhook = record?.spec.webhook;
    if (!record || !webhook) return null;
    const predictions = webhook.includePredictions ? await readPredictions(event.job) : null;
    const id = deliveryId(event);
    const state = await createScript(
      [keys.delivery(id)],
      [
        KEPT_SECONDS,
        'tenant',
        record.spec.tenant,
        'url',
        webhook.url,
        'type',
        event.type,
        'event',
        event.id,
        'job',
        event.job,
        'body',
        JSON.stringify(bodyOf(event, record, predictions)),
        'at',
        event.at,
        'state',
        'pending',
        'attempts',
        0,
        'nextAt',
        clock.now(),
      ],
    );
    return { id, state };
  }

  async function readPredictions(job: string): Promise<unknown[] | null> {
    if ((await redis.hstrlen(keys.job(job), 'output')) > MAX_PACKED_BYTES) return null;
    const output = await redis.hgetBuffer(keys.job(job), 'output');
    const predictions = output && presentPredictions(output);
    return predictions && byteLength(predictions) <= MAX_PREDICTIONS_BYTES ? predictions : null;
  }

  async function getDelivery(id: string): Promise<Delivery | null> {
    const fields = await redis.hgetall(keys.delivery(id));
    const { tenant, url, type, body, state } = fields;
    if (!tenant || !url || !type || !body || !state) return null;
    return {
      id,
      tenant,
      url,
      type: type as JobEvent,
      body,
      at: Number(fields.at),
      state: state as DeliveryState,
      attempts: Number(fields.attempts),
      nextAt: Number(fields.nextAt),
    };
  }

  /** Writes down an attempt and what follows from it. False when the delivery has ended meanwhile. */
  async function recordAttempt(
    id: string,
    attempt: DeliveryAttempt,
    state: DeliveryState,
    nextAt: number,
  ): Promise<boolean> {
    return (await recordScript([keys.delivery(id)], [state, nextAt, JSON.stringify(attempt)])) === 1;
  }

  return { checkUrl, signingSecret, createDelivery, getDelivery, recordAttempt };
}

/** Follows from the event alone, so that making a delivery twice makes one. */
function deliveryId(event: OutboxEvent): string {
  return event.id.replace(/^evt_/, 'dlv_');
}

function bodyOf(event: OutboxEvent, record: JobRecord, predictions: unknown[] | null): WebhookBody {
  const { predictions: _, ...job } = presentJob(record);
  return {
    type: event.type,
    timestamp: toTimestamp(event.at),
    data: predictions ? { ...job, predictions } : job,
  };
}

function byteLength(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** KEYS delivery. ARGV 1 seconds kept, then fields and values. Reply: the state of the delivery, new or known. */
const CREATE = `
local known = redis.call('HGET', KEYS[1], 'state')
if known then return known end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 'pending'
`;

/** KEYS delivery. ARGV 1 state, 2 nextAt, 3 attempt. Reply 1, or 0 when it is gone or has ended. */
const RECORD = `
if redis.call('HGET', KEYS[1], 'state') ~= 'pending' then return 0 end
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'nextAt', ARGV[2], 'lastAttempt', ARGV[3])
return 1
`;
