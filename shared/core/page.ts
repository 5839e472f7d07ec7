/**
 * Pages of a tenant's records, newest first.
 *
 * The index is a sorted set in which all scores are 0, so that its members, ids that begin with a time, sort by time. A cursor
 * is the id of the last record that was looked at: pages stay right while records come and go.
 */
import type { Redis } from '../redis/connect.js';

export interface Page<Item> {
  records: Item[];
  /** Where the next page begins; null at the end. */
  nextCursor: string | null;
}

export interface PageRequest<Item> {
  /** The key of the sorted set. */
  index: string;
  limit: number;
  cursor?: string | undefined;
  /** Bounds of the ids as ZRANGE BYLEX takes them; by default all ids. */
  newest?: string;
  oldest?: string;
  /** Returns the record of an id; null when it is no longer kept. */
  read: (id: string) => Promise<Item | null>;
  /** Whether a record belongs in the list; by default every one. */
  matches?: (record: Item) => boolean;
}

const READ_AT_ONCE = 100;
/** The most records that are looked at for one page. */
const SCAN_LIMIT = 2000;

/** Reads one page. It may be short although more records follow, because at most `SCAN_LIMIT` are looked at. */
export async function readPage<Item>(redis: Redis, request: PageRequest<Item>): Promise<Page<Item>> {
  const { index, limit, cursor, newest = '+', oldest = '-', read, matches } = request;
  const size = matches ? READ_AT_ONCE : Math.min(limit, READ_AT_ONCE);
  const records: Item[] = [];
  let last = cursor;
  for (let scanned = 0; scanned < SCAN_LIMIT; scanned += size) {
    const from = last ? `(${last}` : newest;
    const ids = await redis.zrange(index, from, oldest, 'BYLEX', 'REV', 'LIMIT', 0, size);
    const found = await Promise.all(ids.map(read));
    for (const [i, record] of found.entries()) {
      last = ids[i];
      if (record !== null && (matches?.(record) ?? true)) records.push(record);
      if (records.length === limit) return { records, nextCursor: last ?? null };
    }
    if (ids.length < size) return { records, nextCursor: null };
  }
  return { records, nextCursor: last ?? null };
}
