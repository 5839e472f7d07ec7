/**
 * A tenant's jobs, page by page.
 */

import type { JobRecord, JobStatus } from '../../contract/job.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

export interface JobListDeps {
  redis: Redis;
  keys: Keys;
  get: (tenant: string, id: string) => Promise<JobRecord | null>;
}

export interface JobFilter {
  status?: JobStatus | undefined;
  model?: string | undefined;
  /** Inclusive, milliseconds since the Unix epoch. */
  from?: number | undefined;
  to?: number | undefined;
  limit: number;
  cursor?: string | undefined;
}

export interface JobPage {
  records: JobRecord[];
  nextCursor: string | null;
}

const SCAN_PAGE = 100;
const SCAN_LIMIT = 2000;

export function createJobList({ redis, keys, get }: JobListDeps) {
  /** Newest first. Looks at `SCAN_LIMIT` jobs at most, so a page may be short although there are more. */
  return async function list(tenant: string, filter: JobFilter): Promise<JobPage> {
    const index = keys.tenantJobs(tenant);
    const records: JobRecord[] = [];
    let last = filter.cursor;
    for (let scanned = 0; scanned < SCAN_LIMIT; scanned += SCAN_PAGE) {
      const ids = await redis.zrange(
        index,
        last ? `(${last}` : '+',
        '-',
        'BYLEX',
        'REV',
        'LIMIT',
        0,
        SCAN_PAGE,
      );
      const page = await Promise.all(ids.map((id) => get(tenant, id)));
      for (const [i, record] of page.entries()) {
        last = ids[i];
        if (record && matches(record, filter)) records.push(record);
        if (records.length === filter.limit) return { records, nextCursor: last ?? null };
      }
      if (ids.length < SCAN_PAGE) return { records, nextCursor: null };
    }
    return { records, nextCursor: last ?? null };
  };
}

function matches(record: JobRecord, filter: JobFilter): boolean {
  return (
    (filter.status === undefined || record.status === filter.status) &&
    (filter.model === undefined || record.spec.model === filter.model) &&
    (filter.from === undefined || record.createdAt >= filter.from) &&
    (filter.to === undefined || record.createdAt <= filter.to)
  );
}
