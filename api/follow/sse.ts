/**
 * Event streams: callers that follow a job to its end.
 *
 *   open (follows, writes nothing) -> begun (writes) -> ended (`done` is written, the job is gone, or the process drains)
 *   -> closed (the caller has it all, or is gone): everything it held is given back
 *
 * A caller that reads slowly makes nothing grow: while its buffer is full nothing is written, and then what the newest
 * record has to tell after the last event written; `done` is thus never left out. One that has read nothing from one
 * heartbeat to the next but one is cut off, and may resume.
 */
import type { Writable } from 'node:stream';
import type { Clock } from '../../shared/base/clock.js';
import { SluiceError } from '../../shared/contract/errors.js';
import { comparePositions, eventsOf, formatEvent, headOf, type Position } from './job-events.js';
import type { Feeds, Snapshot } from './job-feed.js';
import { createPlaces } from './slots.js';

export interface JobStream {
  /** Writes what `job` has to tell after `after`, then what changes. */
  begin(job: Snapshot, after: Position | null): void;
  /** For a stream that shall not begin. */
  release(): void;
}

export interface Streams {
  /** Follows `id` from now on; throws `too_many_streams` when the tenant holds its share. Over when `sink` closes. */
  open(tenant: string, id: string, sink: Writable): JobStream;
  /** Ends every stream; their callers resume elsewhere. */
  close(): void;
  /** Open now. */
  readonly count: number;
}

export interface StreamsDeps {
  feeds: Pick<Feeds, 'follow'>;
  clock: Clock;
  maxPerTenant: number;
}

export const HEARTBEAT_MS = 15_000;
/** Heartbeats that a full buffer may hold back. */
const MAX_MISSED_BEATS = 2;
/** What a caller waits before it resumes. */
const RETRY_MS = 2000;

export function createStreams({ feeds, clock, maxPerTenant }: StreamsDeps): Streams {
  const places = createPlaces(maxPerTenant, 'too_many_streams');
  const streams = new Set<{ beat(): void; end(): void }>();
  const stopBeating = clock.every(HEARTBEAT_MS, () => {
    for (const stream of streams) stream.beat();
  });
  let closed = false;

  function open(tenant: string, id: string, sink: Writable): JobStream {
    if (closed) throw new SluiceError('shutting_down', undefined, { retryAfterSeconds: 1 });
    const leave = places.take(tenant);
    let begun = false;
    let newest: Snapshot | null = null;
    let last: Position | null = null;
    let missedBeats = 0;

    const unfollow = feeds.follow(tenant, id, (job) => {
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
    sink.on('error', () => undefined); // 'close' follows.
    if (sink.destroyed) release(); // Gone before it was opened: no 'close' will follow.

    /** The reading with which a stream begins may be older than one that a notice has caused. */
    function keep(job: Snapshot): void {
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
      return places.taken;
    },
  };
}
