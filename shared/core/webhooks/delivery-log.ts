/**
 * The log of deliveries: looking for them, telling a range of them again, forgetting them with their endpoint.
 */

import { prefixOfTime } from '../../contract/ids.js';
import type { DeliveryHead, DeliveryStatus } from '../../contract/webhooks/delivery.js';
import type { EventType } from '../../contract/webhooks/events.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import type { Deliveries } from './deliveries.js';
import { decodeHead, HEAD_FIELDS } from './delivery-record.js';

/** Of a log so many are looked at for one page that is asked for. */
const SCAN_PAGE = 100;
const SCAN_LIMIT = 2000;
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

export interface DeliveryPage {
  deliveries: DeliveryHead[];
  nextCursor: string | null;
}

export interface DeliveryLogDeps {
  redis: Redis;
  keys: Keys;
  deliveries: Pick<Deliveries, 'replay'>;
}

export type DeliveryLog = ReturnType<typeof createDeliveryLog>;

export function createDeliveryLog({ redis, keys, deliveries }: DeliveryLogDeps) {
  /** Newest first, of an endpoint or (null) of jobs' own webhooks. A page may be short although there are more. */
  async function list(
    tenant: string,
    endpoint: string | null,
    filter: DeliveryFilter,
  ): Promise<DeliveryPage> {
    const log = keys.deliveryLog(tenant, endpoint);
    const [newest, oldest] = boundsOf(filter);
    let from = newest;
    const found: DeliveryHead[] = [];
    for (let scanned = 0; scanned < SCAN_LIMIT; scanned += SCAN_PAGE) {
      const ids = await redis.zrange(log, from, oldest, 'BYLEX', 'REV', 'LIMIT', 0, SCAN_PAGE);
      const page = await Promise.all(ids.map(head));
      for (const [i, delivery] of page.entries()) {
        from = `(${ids[i]}`;
        if (delivery && matches(delivery, filter)) found.push(delivery);
        if (found.length === filter.limit) return { deliveries: found, nextCursor: ids[i] ?? null };
      }
      if (ids.length < SCAN_PAGE) return { deliveries: found, nextCursor: null };
    }
    return { deliveries: found, nextCursor: from.slice(1) };
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
    await Promise.all(page.deliveries.map(({ id }) => deliveries.replay(id)));
    return { replayed: page.deliveries.length, nextCursor: page.nextCursor };
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

/** Of ids, as ZRANGE BYLEX REV takes them. */
function boundsOf({ from, to, cursor }: DeliveryFilter): [newest: string, oldest: string] {
  const newest = to === undefined ? '+' : `(${prefixOfTime('dlv', to + 1)}`;
  return [cursor ? `(${cursor}` : newest, from === undefined ? '-' : `[${prefixOfTime('dlv', from)}`];
}

function matches({ status, type }: DeliveryHead, filter: DeliveryFilter): boolean {
  return (
    (filter.status === undefined || filter.status === status) &&
    (filter.type === undefined || filter.type === type)
  );
}
