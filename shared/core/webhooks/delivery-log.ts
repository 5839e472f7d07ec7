/**
 * The log of deliveries: looking for them, telling a range of them again, forgetting them with their endpoint.
 */

import { prefixOfTime } from '../../contract/ids.js';
import type { DeliveryHead, DeliveryStatus } from '../../contract/webhooks/delivery.js';
import type { EventType } from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { type Page, readPage } from '../page.js';
import type { Deliveries } from './deliveries.js';
import { decodeHead, HEAD_FIELDS } from './delivery-record.js';

/** Deliveries that one call replays at most. */
export const MAX_REPLAYED = 1000;
/** Forgotten in one go. */
const PAGE = 200;

export interface DeliveryFilter {
  status?: DeliveryStatus | undefined;
  type?: EventType | undefined;
  /** Of events, milliseconds since the Unix epoch, inclusive. */
  from?: number | undefined;
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

export function createDeliveryLog({ redis, keys, deliveries }: DeliveryLogDeps) {
  /** Newest first, of an endpoint or (null) of jobs' own webhooks. A page may be short although there are more. */
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

  /** Those of an endpoint, or (null) of jobs' own webhooks, that match, `MAX_REPLAYED` at most; `nextCursor` goes on. */
  async function replayAll(
    tenant: string,
    endpoint: string | null,
    filter: ReplayFilter,
  ): Promise<{ replayed: number; nextCursor: string | null }> {
    const page = await list(tenant, endpoint, { ...filter, limit: MAX_REPLAYED });
    await Promise.all(page.records.map(({ id }) => deliveries.replay(id)));
    return { replayed: page.records.length, nextCursor: page.nextCursor };
  }

  /** Forgets what an endpoint that is gone was told, and was not. */
  async function forget(tenant: string, endpoint: string): Promise<void> {
    const log = keys.deliveryLog(tenant, endpoint);
    await redis.unlink(keys.endedDeliveries(tenant, endpoint));
    for (;;) {
      const ids = await redis.zrange(log, '0', String(PAGE - 1));
      if (ids.length === 0) return;
      await redis.unlink(...ids.flatMap((id) => [keys.delivery(id), keys.attempts(id)]));
      await Promise.all([redis.zrem(log, ...ids), redis.zrem(keys.deliveryAgenda, ...ids)]);
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
