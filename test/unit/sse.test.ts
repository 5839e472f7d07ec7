/**
 * Event streams on an injected clock: heartbeats, slow readers, draining, and that nothing is left behind.
 */
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { createJobFeed } from '../../api/follow/job-feed.js';
import { createSseStreams, HEARTBEAT_MS } from '../../api/follow/sse.js';
import type { JobRecord, JobSpec } from '../../shared/contract/job.js';
import { createManualClock } from '../support/manual-clock.js';

const SPEC = { id: 'job_1', tenant: 'acme', instances: 500 } as JobSpec;
const RUNNING: JobRecord = {
  spec: SPEC,
  status: 'running',
  createdAt: 0,
  expiresAt: 1,
  startedAt: 1,
  finishedAt: null,
  deletedAfter: null,
  attempts: 1,
  starts: 1,
  progress: null,
  ticket: 't1',
  history: [],
  end: null,
};
const ENDED: JobRecord = { ...RUNNING, status: 'canceled', finishedAt: 2 };

function bench(maxPerTenant = 10) {
  const clock = createManualClock();
  const watchers = new Set<() => void>();
  let record: JobRecord | null = RUNNING;
  let reads = 0;
  let broken = false;
  const watch = (_: string, notify: () => void) => {
    watchers.add(notify);
    return () => void watchers.delete(notify);
  };
  const jobFeed = createJobFeed({
    jobs: {
      async getWithOutput() {
        reads++;
        if (broken) throw new Error('away');
        return record && { record, output: null };
      },
    },
    results: { present: async () => null },
    notices: { awaited: '', onAwaitedEnd: () => () => undefined, onEnd: watch, onChange: watch },
    clock,
    onError: () => undefined,
  });
  const streams = createSseStreams({ jobFeed, clock, maxPerTenant });

  return {
    clock,
    streams,
    watchers,
    reads: () => reads,
    breakReads: (is: boolean) => (broken = is),
    async change(next: JobRecord | null) {
      record = next;
      for (const notify of watchers) notify();
      await clock.advance(0);
    },
    async open(sink = new PassThrough()) {
      const stream = streams.open('acme', 'job_1', sink);
      const job = await jobFeed.read('acme', 'job_1');
      if (job) stream.begin(job, null);
      return sink;
    },
  };
}

const text = (sink: PassThrough) => String(sink.read() ?? '');
const names = (sink: PassThrough) => [...text(sink).matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
const ended = (sink: PassThrough) =>
  new Promise<void>((resolve) => void sink.once('close', resolve).resume());

it('a heartbeat comes every 15 seconds, and nothing else while nothing happens', async () => {
  const { clock, open } = bench();
  const sink = await open();
  expect(text(sink)).toMatch(/^retry: \d+\n\nid: /);
  for (let beats = 0; beats < 3; beats++) {
    await clock.advance(HEARTBEAT_MS - 1);
    expect(text(sink)).toBe('');
    await clock.advance(1);
    expect(text(sink)).toBe(': heartbeat\n\n');
  }
});

it('ten that follow one job cost one read a change, and give back what they held when it ends', async () => {
  const { open, change, reads, watchers, streams } = bench();
  const sinks = await Promise.all(Array.from({ length: 10 }, () => open()));
  await expect(open()).rejects.toMatchObject({ code: 'too_many_streams', status: 429 });
  const before = reads();
  await change({ ...RUNNING, progress: { done: 1, total: 2 } });
  await change(ENDED);
  expect(reads()).toBe(before + 2);
  for (const sink of sinks) {
    expect(names(sink)).toEqual(['status', 'progress', 'status', 'done']);
    await ended(sink);
  }
  expect(streams.count).toBe(0);
  expect(watchers.size).toBe(0);
});

it('a slow reader gets the newest progress when it reads again, and always `done`', async () => {
  const { open, change } = bench();
  const sink = await open(new PassThrough({ highWaterMark: 1000 }));
  const before = sink.writableLength + sink.readableLength;
  for (let done = 1; done < 500; done++) await change({ ...RUNNING, progress: { done, total: 500 } });
  expect(sink.writableLength + sink.readableLength - before).toBeLessThan(3000);
  await change(ENDED);
  let all = '';
  sink.on('data', (chunk) => (all += chunk));
  await new Promise((resolve) => sink.once('close', resolve));
  expect(all.split('event: progress').length).toBeLessThan(50);
  expect(all).toMatch(/"status":"canceled"[\s\S]*event: done/);
});

it('a reader that takes nothing for two heartbeats is cut off and gives back its place', async () => {
  const { open, change, clock, streams, watchers } = bench();
  const sink = await open(new PassThrough({ highWaterMark: 10 }));
  await change({ ...RUNNING, progress: { done: 1, total: 2 } });
  await clock.advance(HEARTBEAT_MS);
  expect(sink.destroyed).toBe(false);
  await clock.advance(HEARTBEAT_MS);
  expect(sink.destroyed).toBe(true);
  await clock.advance(0);
  expect(streams.count).toBe(0);
  expect(watchers.size).toBe(0);
});

it('draining ends every stream and takes no other; a job that is gone ends its own', async () => {
  const { open, streams, change } = bench();
  const gone = await open();
  await change(null);
  await ended(gone);
  await change(RUNNING);
  const sinks = [await open(), await open()];
  streams.close();
  await Promise.all(sinks.map(ended));
  expect(streams.count).toBe(0);
  await expect(open()).rejects.toMatchObject({ code: 'shutting_down' });
});

it('a caller that is gone before or while its job is read leaves nothing behind', async () => {
  const { open, streams, watchers, clock } = bench();
  const early = new PassThrough();
  early.destroy();
  await open(early);
  const sink = new PassThrough();
  const opening = open(sink);
  sink.destroy();
  await opening;
  await clock.advance(0);
  expect(streams.count).toBe(0);
  expect(watchers.size).toBe(0);
});

it('a read that fails is made again until it does not', async () => {
  const { open, change, breakReads, clock } = bench();
  const sink = await open();
  breakReads(true);
  await change(ENDED);
  await clock.advance(3000);
  expect(names(sink)).toEqual(['status']);
  breakReads(false);
  await clock.advance(1000);
  expect(names(sink)).toEqual(['status', 'done']);
});
