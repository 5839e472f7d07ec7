/**
 * The job feed: each change of a job is read once, however many callers of this process follow the job.
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
export interface JobSnapshot {
  record: JobRecord;
  /** Returns the text of an event that carries the job itself. It is made once and shared by all followers. */
  carry(event: JobEvent): Buffer;
}

export type Follower = (job: JobSnapshot | null) => void;

export interface JobFeed {
  /** Resolves to null for a job that does not exist, or belongs to another tenant. */
  read(tenant: string, id: string): Promise<JobSnapshot | null>;
  /** Calls `follower` after each change, with null once the job is gone, until the returned function is called. */
  follow(tenant: string, id: string, follower: Follower): () => void;
}

export interface JobFeedDeps {
  jobs: Pick<Jobs, 'getWithOutput'>;
  results: Pick<JobResults, 'present'>;
  notices: JobNotices;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

interface FollowedJob {
  followers: Set<Follower>;
  reading: boolean;
  /** Whether a change came during the read. */
  again: boolean;
}

const RETRY_MS = 1000;

/** Returns the feed of this process. */
export function createJobFeed({ jobs, results, notices, clock, onError }: JobFeedDeps): JobFeed {
  const followed = new Map<string, { job: FollowedJob; unwatch: () => void }>();

  async function read(tenant: string, id: string): Promise<JobSnapshot | null> {
    const found = await jobs.getWithOutput(tenant, id);
    return found && snapshotOf(found.record, await results.present(found.record, found.output));
  }

  async function refresh(job: FollowedJob, tenant: string, id: string): Promise<void> {
    job.again = true;
    if (job.reading) return;
    job.reading = true;
    try {
      while (job.again && job.followers.size > 0) {
        job.again = false;
        const snapshot = await read(tenant, id);
        for (const follower of job.followers) follower(snapshot);
      }
    } catch (error) {
      onError('event stream', error);
      clock.after(RETRY_MS, () => void refresh(job, tenant, id));
    } finally {
      job.reading = false;
    }
  }

  function follow(tenant: string, id: string, follower: Follower): () => void {
    const key = `${tenant} ${id}`;
    let entry = followed.get(key);
    if (!entry) {
      const job: FollowedJob = { followers: new Set(), reading: false, again: false };
      entry = { job, unwatch: notices.onChange(id, () => void refresh(job, tenant, id)) };
      followed.set(key, entry);
    }
    const { followers } = entry.job;
    const { unwatch } = entry;
    followers.add(follower);
    return () => {
      if (!followers.delete(follower) || followers.size > 0) return;
      unwatch();
      followed.delete(key);
    };
  }

  return { read, follow };
}

function snapshotOf(record: JobRecord, predictions: Predictions | null): JobSnapshot {
  let text: Buffer | null = null;
  return {
    record,
    carry(event) {
      text ??= Buffer.from(formatEvent(event, presentJob(record, predictions)));
      return text;
    },
  };
}
