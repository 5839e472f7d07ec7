/**
 * Event streams: callers that follow a job to its end.
 *
 *   open (follows, writes nothing) -> begun (writes) -> ended (`done` is written, the job is gone, or the process drains)
 *   -> closed (the caller has read everything, or is gone): everything that the stream held is given back
 *
 * A caller that reads slowly makes nothing grow. Nothing is written while its buffer is full; afterwards it gets the events
 * of the newest record after the last event written, so `done` is never left out. A caller that has read nothing for two
 * heartbeats is cut off, and may resume.
 */
import type { Writable } from 'node:stream';
import type { Clock } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import { comparePositions, eventsOf, formatEvent, headOf, type Position } from './job-events.js';
import type { JobFeed, JobSnapshot } from './job-feed.js';
import { createSlots } from './slots.js';

export interface SseStream {
  /** Writes the events of `job` after position `after`, and then each change. */
  begin(job: JobSnapshot, after: Position | null): void;
  /** Closes a stream that shall not begin. */
  release(): void;
}

export interface SseStreams {
  /**
   * Follows the job `id` from now on, until `sink` closes.
   *
   * @throws {SluiceError} `too_many_streams` when the tenant holds its share, `shutting_down` once the process drains
   */
  open(tenant: string, id: string, sink: Writable): SseStream;
  /** Ends every stream. Their callers resume at another process. */
  close(): void;
  /** How many streams are open. */
  readonly count: number;
}

export interface SseStreamsDeps {
  jobFeed: Pick<JobFeed, 'follow'>;
  clock: Clock;
  maxPerTenant: number;
}

export const HEARTBEAT_MS = 15_000;
/** A stream whose full buffer has held back this many heartbeats is cut off. */
const MAX_MISSED_BEATS = 2;
/** A caller waits for this long before it resumes. */
const RETRY_MS = 2000;

/** Returns the event streams of this process; a tenant holds at most `maxPerTenant` of them. */
export function createSseStreams({ jobFeed, clock, maxPerTenant }: SseStreamsDeps): SseStreams {
  const slots = createSlots(maxPerTenant, 'too_many_streams');
  const streams = new Set<{ beat(): void; end(): void }>();
  const stopBeating = clock.every(HEARTBEAT_MS, () => {
    for (const stream of streams) stream.beat();
  });
  let closed = false;

  function open(tenant: string, id: string, sink: Writable): SseStream {
    if (closed) throw new SluiceError('shutting_down', undefined, { retryAfterSeconds: 1 });
    const leave = slots.take(tenant);
    let begun = false;
    let newest: JobSnapshot | null = null;
    let last: Position | null = null;
    let missedBeats = 0;

    const unfollow = jobFeed.follow(tenant, id, (job) => {
      if (job) {
        keep(job);
        flush();
      } else if (begun) sink.end();
    });
    const stream = { beat, end: () => void (begun && sink.end()) };
    const release = () => {
      streams.delete(stream);
      unfollow();
      leave();
      newest = null;
    };
    streams.add(stream);
    sink.once('close', release);
    sink.on('drain', () => {
      missedBeats = 0;
      flush();
    });
    // 'close' follows an error, and does the work.
    sink.on('error', () => undefined);
    // No 'close' follows for a caller that was gone before.
    if (sink.destroyed) release();

    /** Keeps the newer snapshot, because the first one may be older than one that a notice has caused. */
    function keep(job: JobSnapshot): void {
      if (!newest || comparePositions(headOf(job.record), headOf(newest.record)) >= 0) newest = job;
    }

    function flush(): void {
      if (!begun || !newest || sink.writableEnded || sink.destroyed || sink.writableNeedDrain) return;
      for (const event of eventsOf(newest.record, last)) {
        last = event.position;
        if (event.name === 'done') sink.end(newest.carry(event));
        else sink.write(formatEvent(event, event.data));
      }
    }

    function beat(): void {
      if (!begun || sink.writableEnded) return;
      missedBeats = sink.writableNeedDrain ? missedBeats + 1 : 0;
      if (missedBeats === 0) sink.write(': heartbeat\n\n');
      else if (missedBeats === MAX_MISSED_BEATS) sink.destroy();
    }

    return {
      begin(job, after) {
        if (sink.destroyed) return;
        begun = true;
        last = after;
        sink.write(`retry: ${RETRY_MS}\n\n`);
        keep(job);
        flush();
        if (closed) sink.end();
      },
      release,
    };
  }

  return {
    open,
    close() {
      closed = true;
      stopBeating();
      for (const stream of streams) stream.end();
    },
    get count() {
      return slots.taken;
    },
  };
}
