/**
 * Deliveries (states: contract/delivery.ts): made, attempted, held, replayed.
 *
 * Promises: one delivery per event and subscription, however often it is made; its body is built once, so every attempt
 * carries the same bytes under the same id. The record is the truth about attempts and about when the next is due, the
 * queue only carries ids; what the queue loses is found again by the agenda.
 */
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import { derivedId, isId, prefixOfTime } from '../../contract/ids.js';
import {
  DELIVERY_KEPT_MS,
  type Delivery,
  type DeliveryAttempt,
  type DeliveryStatus,
  slim,
} from '../../contract/webhooks/delivery.js';
import type { DisabledReason, Endpoint } from '../../contract/webhooks/endpoint.js';
import { defineScript, type Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { decodeDelivery, HEAD_FIELDS } from './delivery-record.js';
import { CREATE_DELIVERY, HOLD, LOOK_AFTER_MS, RECORD_ATTEMPT, RELEASE, REPLAY } from './webhook-scripts.js';

/** Of a full log, so that an endpoint can be tried out all the same. */
const ROOM_FOR_TESTS = 100;
/** Dealt with in one go of the agenda, and of an endpoint that is enabled again. */
const PAGE = 200;

export interface DeliveriesDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  /** Of a log. */
  maxKept: number;
}

export interface NewDelivery extends Pick<Delivery, 'tenant' | 'type' | 'job' | 'body' | 'at'> {
  /** Names the event among all. */
  event: string;
  /** Whom it goes to: an endpoint, or the URL of a job's own webhook. */
  to: Pick<Endpoint, 'id'> | string;
  /** It is attempted once only. */
  isTest?: boolean;
}

export interface Made {
  id: string;
  status: DeliveryStatus | 'dropped';
  /** As it was made just now; null where it was made before, or is not. */
  delivery: Delivery | null;
}

export interface Recorded {
  status: DeliveryStatus;
  /** Not what was to follow where a replay was asked for during the attempt. */
  nextAt: number;
  /** Why its endpoint was disabled in this very step. */
  disabled: DisabledReason | null;
}

export type Deliveries = ReturnType<typeof createDeliveries>;

export function createDeliveries({ redis, keys, clock, maxKept }: DeliveriesDeps) {
  const createScript = defineScript<Made['status'] | 'made'>(redis, 'sluiceCreateDelivery', CREATE_DELIVERY);
  const recordScript = defineScript<string[]>(redis, 'sluiceRecordAttempt', RECORD_ATTEMPT);
  const holdScript = defineScript<number>(redis, 'sluiceHold', HOLD);
  const releaseScript = defineScript<string[]>(redis, 'sluiceRelease', RELEASE);
  const replayScript = defineScript<number>(redis, 'sluiceReplay', REPLAY);

  /** Makes it, unless it is made already. */
  async function create(made: NewDelivery): Promise<Made> {
    const url = typeof made.to === 'string' ? made.to : null;
    const endpoint = typeof made.to === 'string' ? null : made.to.id;
    const once = made.isTest ? 'failed' : null;
    const nextAt = clock.now();
    const id = derivedId('dlv', made.at, made.event, endpoint ?? 'job');
    const status = await createScript(
      [
        keys.delivery(id),
        keys.deliveryLog(made.tenant, endpoint),
        keys.deliveryAgenda,
        keys.endpoint(endpoint ?? ''),
        keys.endedDeliveries(made.tenant, endpoint),
      ],
      [
        id,
        DELIVERY_KEPT_MS,
        nextAt,
        prefixOfTime('dlv', clock.now() - DELIVERY_KEPT_MS),
        made.isTest ? maxKept + ROOM_FOR_TESTS : maxKept,
        keys.delivery(''),
        keys.attempts(''),
        endpoint ?? '',
        ...['tenant', made.tenant, 'type', made.type, 'body', made.body, 'at', made.at],
        ...(url === null ? ['endpoint', endpoint ?? ''] : ['url', url]),
        ...(made.job ? ['job', made.job] : []),
        ...(once ? ['once', once] : []),
      ],
    );
    if (status !== 'made') return { id, status, delivery: null };
    const { tenant, type, job, body, at } = made;
    const delivery = { id, tenant, endpoint, url, type, job, body, at, attempts: 0, nextAt, once } as const;
    return { id, status: 'pending', delivery: { ...delivery, status: 'pending' } };
  }

  async function get(id: string): Promise<Delivery | null> {
    return decodeDelivery(id, await redis.hmget(keys.delivery(id), 'body', ...HEAD_FIELDS));
  }

  async function demand(tenant: string, id: string): Promise<Delivery> {
    const delivery = isId('dlv', id) ? await get(id) : null;
    if (delivery?.tenant !== tenant) throw new SluiceError('not_found', 'There is no such delivery.');
    return delivery;
  }

  /** The first ones of a delivery that was attempted very often are not kept. */
  async function attemptsOf(id: string): Promise<DeliveryAttempt[]> {
    const [kept, last] = await Promise.all([
      redis.lrange(keys.attempts(id), 0, -1),
      redis.hget(keys.delivery(id), 'lastAttempt'),
    ]);
    return [...kept.slice(0, -1), ...(last ? [last] : [])].map((text) => JSON.parse(text) as DeliveryAttempt);
  }

  /** Writes down an attempt and what follows from it; null when the delivery is gone or has ended meanwhile. */
  async function record(
    { id, tenant, endpoint, attempts, nextAt: dueAt }: Delivery,
    attempt: DeliveryAttempt,
    status: DeliveryStatus,
    nextAt: number,
    disableAfterMs: number,
  ): Promise<Recorded | null> {
    const [outcome, next, disabled] = await recordScript(
      [
        keys.delivery(id),
        keys.attempts(id),
        keys.deliveryAgenda,
        keys.endpoint(endpoint ?? ''),
        keys.outbox,
        keys.subscribed,
        keys.endedDeliveries(tenant, endpoint),
      ],
      [
        id,
        status,
        nextAt,
        JSON.stringify(slim(attempt)),
        JSON.stringify(attempt),
        clock.now(),
        endpoint ?? '',
        attempt.status === 410 ? 'gone' : '',
        disableAfterMs,
        attempts,
        DELIVERY_KEPT_MS,
        dueAt,
      ],
    );
    if (!outcome) return null;
    return {
      status: outcome as DeliveryStatus,
      nextAt: Number(next),
      disabled: (disabled ?? null) as DisabledReason | null,
    };
  }

  /** The queue will hand it out later than its record says: it is not lost until then. */
  async function postpone(id: string, untilMs: number): Promise<void> {
    await redis.zadd(keys.deliveryAgenda, 'XX', untilMs + LOOK_AFTER_MS, id);
  }

  /** Nobody has it in hand: whoever looks next finds it. */
  async function recall(id: string): Promise<void> {
    await redis.zadd(keys.deliveryAgenda, 'XX', clock.now(), id);
  }

  /** False when its endpoint is enabled after all. */
  async function hold(id: string, endpoint: string): Promise<boolean> {
    const held = await holdScript(
      [keys.delivery(id), keys.endpoint(endpoint), keys.deliveryAgenda, keys.held(endpoint)],
      [id],
    );
    return held === 1;
  }

  /** Those that were held for endpoints which are enabled now, a page of each. */
  async function release(): Promise<string[]> {
    const endpoints = await redis.smembers(keys.releasing);
    const released = await Promise.all(
      endpoints.map((id) =>
        releaseScript(
          [keys.endpoint(id), keys.held(id), keys.releasing, keys.deliveryAgenda],
          [id, PAGE, clock.now() + LOOK_AFTER_MS],
        ),
      ),
    );
    return released.flat();
  }

  /** Pending deliveries that the queue should have handed out by now, a page, replays first; they are looked for again later. */
  async function overdue(): Promise<string[]> {
    const now = clock.now();
    const ids = await redis.zrangebyscore(keys.deliveryAgenda, '-inf', now, 'LIMIT', 0, PAGE);
    const statuses = await Promise.all(ids.map((id) => redis.hget(keys.delivery(id), 'status')));
    await Promise.all(
      ids.map((id, i) =>
        statuses[i] === 'pending' ? postpone(id, now) : redis.zrem(keys.deliveryAgenda, id),
      ),
    );
    return ids.filter((_, i) => statuses[i] === 'pending');
  }

  /** One more attempt, at once. */
  async function replay(id: string): Promise<void> {
    const [tenant, endpoint] = await redis.hmget(keys.delivery(id), 'tenant', 'endpoint');
    if (!tenant) return;
    await replayScript(
      [keys.delivery(id), keys.deliveryAgenda, keys.endedDeliveries(tenant, endpoint ?? null)],
      [id, clock.now()],
    );
  }

  /** Forgets one whose endpoint is gone. */
  async function discard(id: string): Promise<void> {
    await Promise.all([
      redis.unlink(keys.delivery(id), keys.attempts(id)),
      redis.zrem(keys.deliveryAgenda, id),
    ]);
  }

  /** Pending ones, but for those that are held. */
  const pending = (): Promise<number> => redis.zcard(keys.deliveryAgenda);

  return {
    create,
    get,
    demand,
    attemptsOf,
    record,
    postpone,
    recall,
    hold,
    release,
    overdue,
    replay,
    discard,
    pending,
  };
}
