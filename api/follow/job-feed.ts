/**
 * Job feeds: each change of a job is read once, however many callers of this process follow the job.
 *
 * All changes that come during a read lead to one more read, so a caller sees the newest state, and maybe not every state on
 * the way. A read that fails is tried again, because no second notice of the change will come.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { JobRecord } from '../../shared/contract/job.js';
import { type Predictions, presentJob } from '../../shared/contract/job-view.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import type { JobResults } from '../../shared/core/jobs/job-results.js';
import type { Jobs } from '../../shared/core/jobs/jobs.js';
import { formatEvent, type JobEvent } from './job-events.js';

/** A job as one read found it. */
export interface Snapshot {
  record: JobRecord;
  /** Returns the text of an event that carries the job itself. It is made once and shared by all followers. */
  carry(event: JobEvent): Buffer;
}

export type Follower = (job: Snapshot | null) => void;

export interface Feeds {
  /** Resolves to null for a job that does not exist, or belongs to another tenant. */
  read(tenant: string, id: string): Promise<Snapshot | null>;
  /** Calls `follower` after each change, with null once the job is gone, until the returned function is called. */
  follow(tenant: string, id: string, follower: Follower): () => void;
}

export interface FeedsDeps {
  jobs: Pick<Jobs, 'getWithOutput'>;
  results: Pick<JobResults, 'present'>;
  notices: JobNotices;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

interface Feed {
  followers: Set<Follower>;
  reading: boolean;
  /** Whether a change came during the read. */
  again: boolean;
}

const RETRY_MS = 1000;

/** Returns the feeds of this process. */
export function createFeeds({ jobs, results, notices, clock, onError }: FeedsDeps): Feeds {
  const feeds = new Map<string, { feed: Feed; unwatch: () => void }>();

  async function read(tenant: string, id: string): Promise<Snapshot | null> {
    const found = await jobs.getWithOutput(tenant, id);
    return found && snapshotOf(found.record, await results.present(found.record, found.output));
  }

  async function refresh(feed: Feed, tenant: string, id: string): Promise<void> {
    feed.again = true;
    if (feed.reading) return;
    feed.reading = true;
    try {
      while (feed.again && feed.followers.size > 0) {
        feed.again = false;
        const job = await read(tenant, id);
        for (const follower of feed.followers) follower(job);
      }
    } catch (error) {
      onError('event stream', error);
      clock.after(RETRY_MS, () => void refresh(feed, tenant, id));
    } finally {
      feed.reading = false;
    }
  }

  function follow(tenant: string, id: string, follower: Follower): () => void {
    const key = `${tenant} ${id}`;
    let entry = feeds.get(key);
    if (!entry) {
      const feed: Feed = { followers: new Set(), reading: false, again: false };
      entry = { feed, unwatch: notices.onChange(id, () => void refresh(feed, tenant, id)) };
      feeds.set(key, entry);
    }
    const { feed, unwatch } = entry;
    feed.followers.add(follower);
    return () => {
      if (!feed.followers.delete(follower) || feed.followers.size > 0) return;
      unwatch();
      feeds.delete(key);
    };
  }

  return { read, follow };
}

function snapshotOf(record: JobRecord, predictions: Predictions | null): Snapshot {
  let text: Buffer | null = null;
  return {
    record,
    carry(event) {
      text ??= Buffer.from(formatEvent(event, presentJob(record, predictions)));
      return text;
    },
  };
}
