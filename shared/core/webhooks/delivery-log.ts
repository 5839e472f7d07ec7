/**
 * The log of deliveries: lists them, replays a range of them, and deletes those of an endpoint that was removed.
 *
 * A log belongs to one endpoint, or to the own webhooks of a tenant's jobs; `endpoint` is null for the latter.
 */
import { prefixOfTime } from '../../contract/ids.js';
import type { DeliveryHead, DeliveryStatus } from '../../contract/webhooks/delivery.js';
import type { EventType } from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { type Page, readPage } from '../page.js';
import type { Deliveries } from './deliveries.js';
import { decodeHead, HEAD_FIELDS } from './delivery-record.js';

/** The largest number of deliveries that one call replays. */
const MAX_REPLAYED = 1000;
/** Deliveries that one command deletes. */
const PAGE = 200;

export interface DeliveryFilter {
  status?: DeliveryStatus | undefined;
  type?: EventType | undefined;
  /** The time of the earliest event, in milliseconds since the Unix epoch. */
  from?: number | undefined;
  /** The time of the latest event, in milliseconds since the Unix epoch. */
  to?: number | undefined;
  limit: number;
  cursor?: string | undefined;
}

export type ReplayFilter = Omit<DeliveryFilter, 'limit'>;

export interface DeliveryLogDeps {
  redis: Redis;
  keys: Keys;
  deliveries: Pick<Deliveries, 'replay'>;
}

export type DeliveryLog = ReturnType<typeof createDeliveryLog>;

/** Returns the logs of all tenants. Every function rejects when Redis fails. */
export function createDeliveryLog({ redis, keys, deliveries }: DeliveryLogDeps) {
  /** Returns a page of matching deliveries, newest first. A page may be short although `nextCursor` says that there are more. */
  function list(
    tenant: string,
    endpoint: string | null,
    filter: DeliveryFilter,
  ): Promise<Page<DeliveryHead>> {
    return readPage(redis, {
      index: keys.deliveryLog(tenant, endpoint),
      limit: filter.limit,
      cursor: filter.cursor,
      ...boundsOf(filter),
      read: head,
      matches: (delivery) => matches(delivery, filter),
    });
  }

  async function head(id: string): Promise<DeliveryHead | null> {
    return decodeHead(id, await redis.hmget(keys.delivery(id), ...HEAD_FIELDS));
  }

  /** Replays at most `MAX_REPLAYED` matching deliveries, newest first, and returns how many. A call with `nextCursor` goes on. */
  async function replayAll(
    tenant: string,
    endpoint: string | null,
    filter: ReplayFilter,
  ): Promise<{ replayed: number; nextCursor: string | null }> {
    const page = await list(tenant, endpoint, { ...filter, limit: MAX_REPLAYED });
    await Promise.all(page.records.map(({ id }) => deliveries.replay(id)));
    return { replayed: page.records.length, nextCursor: page.nextCursor };
  }

  /** Deletes all deliveries of an endpoint that was removed. */
  async function forget(tenant: string, endpoint: string): Promise<void> {
    const log = keys.deliveryLog(tenant, endpoint);
    await redis.unlink(keys.endedDeliveries(tenant, endpoint));
    for (;;) {
      const ids = await redis.zrange(log, '0', String(PAGE - 1));
      if (ids.length === 0) return;
      await redis.unlink(...ids.flatMap((id) => [keys.delivery(id), keys.attempts(id)]));
      await Promise.all([redis.zrem(log, ...ids), redis.zrem(keys.deliveryDueIndex, ...ids)]);
    }
  }

  return { list, replayAll, forget };
}

/** Returns the bounds of the ids, as ZRANGE BYLEX takes them. */
function boundsOf({ from, to }: DeliveryFilter): { newest: string; oldest: string } {
  return {
    newest: to === undefined ? '+' : `(${prefixOfTime('dlv', to + 1)}`,
    oldest: from === undefined ? '-' : `[${prefixOfTime('dlv', from)}`,
  };
}

function matches({ status, type }: DeliveryHead, filter: DeliveryFilter): boolean {
  return (
    (filter.status === undefined || filter.status === status) &&
    (filter.type === undefined || filter.type === type)
  );
}
