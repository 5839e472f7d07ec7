/**
 * Deliveries: creates, records, holds, releases and replays them. contract/webhooks/delivery.ts tells their states.
 *
 * Promises: an event has one delivery per subscription, however often `create` is called. The body is built once, so every
 * attempt carries the same bytes under the same id. The record holds the truth about attempts and about the time of the next.
 * BullMQ only carries ids, and the due index finds every delivery that BullMQ has lost.
 */
import type { Clock } from '../../base/clock.js';
import { SluiceError } from '../../contract/errors.js';
import { derivedId, isId, prefixOfTime } from '../../contract/ids.js';
import {
  DELIVERY_KEPT_MS,
  type Delivery,
  type DeliveryAttempt,
  type DeliveryStatus,
  shortenResponse,
} from '../../contract/webhooks/delivery.js';
import { type DisabledReason, type Endpoint, QUIET_MS } from '../../contract/webhooks/endpoint.js';
import type { Redis } from '../../redis/connect.js';
import { hashFields } from '../../redis/hash-fields.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { decodeDelivery, HEAD_FIELDS } from './delivery-record.js';

/** A log holds this many test events more, so that a tenant can test an endpoint whose log is full. */
const ROOM_FOR_TESTS = 100;
/** Deliveries that one call of `overdue` returns, and that one call of `release` returns for each endpoint. */
const PAGE = 200;
/** The due index looks for a delivery this long after its attempt was due, which is more than an attempt takes. */
const LOOK_AFTER_MS = 20_000;

export interface DeliveriesDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  /** The number of deliveries that the log of one endpoint holds. */
  maxKept: number;
}

export interface NewDelivery extends Pick<Delivery, 'tenant' | 'type' | 'job' | 'body' | 'at'> {
  /** The id of the event, unique among all events. */
  event: string;
  /** The endpoint, or the URL of a job's own webhook. */
  to: Pick<Endpoint, 'id'> | string;
  /** True means that one attempt is made, whether it succeeds or fails. */
  isTest?: boolean;
}

export interface CreatedDelivery {
  id: string;
  /** `dropped` means that the log is full of pending deliveries and that no delivery was created. */
  status: DeliveryStatus | 'dropped';
  /** The delivery if this call created it; null otherwise. */
  delivery: Delivery | null;
}

/** The state of a delivery after an attempt was recorded. */
export interface RecordedAttempt {
  status: DeliveryStatus;
  /** Earlier than the caller planned if a replay was requested during the attempt. Milliseconds since the Unix epoch. */
  nextAt: number;
  /** The reason for which this attempt disabled the endpoint; null when it did not. */
  disabled: DisabledReason | null;
}

export type Deliveries = ReturnType<typeof createDeliveries>;

/** Returns the deliveries of all tenants. Every function rejects when Redis fails. */
export function createDeliveries({ redis, keys, clock, maxKept }: DeliveriesDeps) {
  const createDelivery = loadScript(redis, 'create-delivery');
  const recordAttempt = loadScript(redis, 'record-attempt');
  const holdDelivery = loadScript(redis, 'hold-delivery');
  const releaseDeliveries = loadScript(redis, 'release-deliveries');
  const replayDelivery = loadScript(redis, 'replay-delivery');

  /** Creates a delivery whose first attempt is due at once, unless an earlier call has created it. */
  async function create({
    event,
    to,
    tenant,
    type,
    job,
    body,
    at,
    isTest = false,
  }: NewDelivery): Promise<CreatedDelivery> {
    const url = typeof to === 'string' ? to : null;
    const endpoint = typeof to === 'string' ? null : to.id;
    const once = isTest ? 'failed' : null;
    const nextAt = clock.now();
    const id = derivedId('dlv', at, event, endpoint ?? 'job');
    const status = await createDelivery(
      {
        deliveryKey: keys.delivery(id),
        logKey: keys.deliveryLog(tenant, endpoint),
        dueIndexKey: keys.deliveryDueIndex,
        endpointKey: keys.endpoint(endpoint ?? ''),
        endedKey: keys.endedDeliveries(tenant, endpoint),
        id,
        keptMs: DELIVERY_KEPT_MS,
        nextAt,
        leastId: prefixOfTime('dlv', clock.now() - DELIVERY_KEPT_MS),
        maxEntries: isTest ? maxKept + ROOM_FOR_TESTS : maxKept,
        deliveryPrefix: keys.delivery(''),
        attemptsPrefix: keys.attempts(''),
        endpoint: endpoint ?? '',
        lookAfterMs: LOOK_AFTER_MS,
      },
      hashFields({
        tenant,
        type,
        body,
        at,
        endpoint: endpoint ?? undefined,
        url: url ?? undefined,
        job: job ?? undefined,
        once: once ?? undefined,
      }),
    );
    if (status !== 'made') return { id, status: status as CreatedDelivery['status'], delivery: null };
    const delivery = { id, tenant, endpoint, url, type, job, body, at, attempts: 0, nextAt, once } as const;
    return { id, status: 'pending', delivery: { ...delivery, status: 'pending' } };
  }

  /** Returns the delivery of any tenant, or null when it is no longer kept. */
  async function get(id: string): Promise<Delivery | null> {
    return decodeDelivery(id, await redis.hmget(keys.delivery(id), 'body', ...HEAD_FIELDS));
  }

  /**
   * Returns a delivery of the tenant.
   *
   * @throws {SluiceError} `not_found` when the tenant has no such delivery
   */
  async function demand(tenant: string, id: string): Promise<Delivery> {
    const delivery = isId('dlv', id) ? await get(id) : null;
    if (delivery?.tenant !== tenant) throw new SluiceError('not_found', 'There is no such delivery.');
    return delivery;
  }

  /** Returns the attempts, the oldest first. Redis keeps the latest 50, and the whole response body of the last one only. */
  async function attemptsOf(id: string): Promise<DeliveryAttempt[]> {
    const [kept, last] = await Promise.all([
      redis.lrange(keys.attempts(id), 0, -1),
      redis.hget(keys.delivery(id), 'lastAttempt'),
    ]);
    return [...kept.slice(0, -1), ...(last ? [last] : [])].map((text) => JSON.parse(text) as DeliveryAttempt);
  }

  /**
   * Records an attempt, which ends the delivery or sets its next attempt, and updates the health of the endpoint. Returns null
   * when the delivery is no longer kept, has ended meanwhile, or was attempted meanwhile by another process.
   *
   * `status` and `nextAt` (milliseconds since the Unix epoch) are what the retry schedule says. An endpoint without a success for
   * `disableAfterMs` is disabled.
   */
  async function record(
    { id, tenant, endpoint, attempts, nextAt: dueAt }: Delivery,
    attempt: DeliveryAttempt,
    status: DeliveryStatus,
    nextAt: number,
    disableAfterMs: number,
  ): Promise<RecordedAttempt | null> {
    const [recorded, next, disabled] = await recordAttempt({
      deliveryKey: keys.delivery(id),
      attemptsKey: keys.attempts(id),
      dueIndexKey: keys.deliveryDueIndex,
      endpointKey: keys.endpoint(endpoint ?? ''),
      outboxKey: keys.outbox,
      subscribedKey: keys.subscribed,
      endedKey: keys.endedDeliveries(tenant, endpoint),
      id,
      statusAfter: status,
      nextAttemptAt: nextAt,
      attempt: JSON.stringify(shortenResponse(attempt)),
      lastAttempt: JSON.stringify(attempt),
      now: clock.now(),
      endpoint: endpoint ?? '',
      gone: attempt.status === 410 ? 'gone' : '',
      disableAfterMs,
      attemptsBefore: attempts,
      keptMs: DELIVERY_KEPT_MS,
      dueAt,
      lookAfterMs: LOOK_AFTER_MS,
      quietMs: QUIET_MS,
    });
    if (!recorded) return null;
    return {
      status: recorded as DeliveryStatus,
      nextAt: Number(next),
      disabled: (disabled ?? null) as DisabledReason | null,
    };
  }

  /** Tells the due index that the delivery waits until `untilMs` (milliseconds since the Unix epoch) and is not lost before. */
  async function postpone(id: string, untilMs: number): Promise<void> {
    await redis.zadd(keys.deliveryDueIndex, 'XX', untilMs + LOOK_AFTER_MS, id);
  }

  /** Makes the delivery due at once, because this process will not attempt it. */
  async function recall(id: string): Promise<void> {
    await redis.zadd(keys.deliveryDueIndex, 'XX', clock.now(), id);
  }

  /** Holds the delivery until its endpoint is enabled. Returns false when the endpoint is enabled, is gone, or the delivery has ended. */
  async function hold(id: string, endpoint: string): Promise<boolean> {
    const held = await holdDelivery({
      deliveryKey: keys.delivery(id),
      endpointKey: keys.endpoint(endpoint),
      dueIndexKey: keys.deliveryDueIndex,
      heldKey: keys.held(endpoint),
      id,
    });
    return held === 1;
  }

  /** Returns deliveries that were held for endpoints which are enabled now, at most `PAGE` of each endpoint. */
  async function release(): Promise<string[]> {
    const endpoints = await redis.smembers(keys.releasing);
    const released = await Promise.all(
      endpoints.map((id) =>
        releaseDeliveries({
          endpointKey: keys.endpoint(id),
          heldKey: keys.held(id),
          releasingKey: keys.releasing,
          dueIndexKey: keys.deliveryDueIndex,
          endpoint: id,
          count: PAGE,
          lookAt: clock.now() + LOOK_AFTER_MS,
        }),
      ),
    );
    return released.flat();
  }

  /**
   * Returns at most `PAGE` pending deliveries that BullMQ should have handed out by now, replays first. The due index returns
   * them again after `LOOK_AFTER_MS`.
   */
  async function overdue(): Promise<string[]> {
    const now = clock.now();
    const ids = await redis.zrangebyscore(keys.deliveryDueIndex, '-inf', now, 'LIMIT', 0, PAGE);
    const statuses = await Promise.all(ids.map((id) => redis.hget(keys.delivery(id), 'status')));
    await Promise.all(
      ids.map((id, i) =>
        statuses[i] === 'pending' ? postpone(id, now) : redis.zrem(keys.deliveryDueIndex, id),
      ),
    );
    return ids.filter((_, i) => statuses[i] === 'pending');
  }

  /** Makes one more attempt due at once; does nothing when the delivery is no longer kept. */
  async function replay(id: string): Promise<void> {
    const [tenant, endpoint] = await redis.hmget(keys.delivery(id), 'tenant', 'endpoint');
    if (!tenant) return;
    await replayDelivery({
      deliveryKey: keys.delivery(id),
      dueIndexKey: keys.deliveryDueIndex,
      endedKey: keys.endedDeliveries(tenant, endpoint ?? null),
      id,
      now: clock.now(),
    });
  }

  /** Deletes a delivery whose endpoint no longer exists. */
  async function discard(id: string): Promise<void> {
    await Promise.all([
      redis.unlink(keys.delivery(id), keys.attempts(id)),
      redis.zrem(keys.deliveryDueIndex, id),
    ]);
  }

  /** Counts the pending deliveries that are not held. */
  const pending = (): Promise<number> => redis.zcard(keys.deliveryDueIndex);

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
