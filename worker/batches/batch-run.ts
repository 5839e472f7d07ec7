/**
 * A run: what a driver holds while it has a batch. Two chunks of lines are open at once, one that ends while the next is
 * submitted; a chunk's results are stored before its jobs are forgotten.
 */
import { type LineCounts, NO_LINES } from '../../shared/contract/batch.js';
import type { Batches, Part, Taken } from '../../shared/core/batches/batches.js';
import type { BatchResults, Outcome } from './batch-results.js';
import type { Line } from './json-lines.js';
import { createLineJobs, type LineJobsDeps } from './line-jobs.js';

export interface RunDeps extends LineJobsDeps {
  batches: Batches;
  results: BatchResults;
  /** Hears of the lines of each chunk, once. */
  onLines: (counts: LineCounts) => void;
}

export interface Run {
  /** Those that are stored. */
  parts: Part[];
  /** Why the batch takes no more lines. */
  readonly halted: 'canceled' | 'expired' | null;
  /** Aborts when nothing more is to be done here. */
  stop: AbortSignal;
  /** Redis' clock, milliseconds since the Unix epoch. */
  now(): number;
  /** `total`: lines of the input. */
  begin(total: number): Promise<void>;
  /** Submits the jobs of a chunk; with too many chunks open, the oldest is brought to its end first. */
  advance(chunk: readonly Line[]): Promise<void>;
  /** Brings all that is open to its end. */
  drain(): Promise<void>;
  close(): void;
}

interface OpenChunk {
  /** Of lines that have ended. */
  outcomes: Outcome[];
  ended: Promise<Outcome>[];
}

/** So often does a batch tell how far it is, and hear whether it is canceled or out of time. */
const REPORT_MS = 500;
const OPEN_CHUNKS = 2;
/** Lines that are read and encoded in one go; between two of these, others have their turn. */
const WINDOW = 25;

export function createRun(deps: RunDeps, taken: Taken, closing: AbortSignal): Run {
  const { batches, results, clock, onError } = deps;
  const { record } = taken;
  const ahead = taken.now - clock.now();
  const now = () => clock.now() + ahead;
  const halt = new AbortController();
  const lost = new AbortController();
  const stop = AbortSignal.any([closing, lost.signal]);
  const stopped = new Promise<never>((_, reject) => {
    if (stop.aborted) reject(stop.reason);
    stop.addEventListener('abort', () => reject(stop.reason), { once: true });
  });
  stopped.catch(() => undefined);
  const lineJobs = createLineJobs(deps, {
    batch: record,
    leftMs: () => record.expiresAt - now(),
    halt: halt.signal,
    stop,
  });
  const parts = [...taken.parts];
  const open: OpenChunk[] = [];
  let done = taken.counts;
  let total = 0;
  let reporting = false;
  let stopReporting = () => {};

  async function begin(lines: number): Promise<void> {
    total = lines;
    await forgetLast();
    await report();
    stopReporting = clock.every(REPORT_MS, () => {
      report().catch((error: unknown) => onError('batch', error));
    });
  }

  /** Who drove the batch before may have died between storing a part and forgetting its jobs. */
  async function forgetLast(): Promise<void> {
    const [part] = parts.slice(-1);
    if (!part) return;
    for await (const job of results.jobsOf(record.spec, parts.length - 1, part)) await lineJobs.erase(job);
  }

  async function report(): Promise<void> {
    if (reporting) return;
    reporting = true;
    try {
      const counts = plus(
        done,
        open.flatMap(({ outcomes }) => outcomes),
      );
      const verdict = await batches.report(taken, total, counts);
      if (verdict === 'lost') lost.abort(new Lost());
      if (verdict === 'cancel') halt.abort('canceled');
      // Jobs that wait expire with their batch, by themselves; those that run are let run.
      if (verdict === 'expire') halt.abort('expired');
      // Again and again: a job may have been on its way to the queue at the first time.
      if (halt.signal.reason === 'canceled') await lineJobs.cancelAll();
    } finally {
      reporting = false;
    }
  }

  async function advance(chunk: readonly Line[]): Promise<void> {
    if (open.length === OPEN_CHUNKS) await endFirst();
    const { outcomes, ended } = openChunk();
    for (let start = 0; start < chunk.length; start += WINDOW) {
      stop.throwIfAborted();
      const window = chunk.slice(start, start + WINDOW);
      for (const begun of await Promise.all(window.map(lineJobs.begin))) {
        void begun.ended.then((outcome) => outcomes.push(outcome));
        ended.push(begun.ended);
      }
    }
  }

  function openChunk(): OpenChunk {
    const chunk = { outcomes: [], ended: [] };
    open.push(chunk);
    return chunk;
  }

  async function drain(): Promise<void> {
    while (open.length > 0) await endFirst();
  }

  /** Its results are stored before its jobs are forgotten. */
  async function endFirst(): Promise<void> {
    const [chunk] = open;
    if (!chunk) return;
    const index = parts.length;
    const outcomes = await Promise.race([Promise.all(chunk.ended), stopped]);
    const part = await results.writePart(record.spec, index, taken.token, outcomes);
    const counts = plus(done, outcomes);
    if (!(await batches.addPart(taken, index, part, counts))) {
      await results.dropPart(record.spec, index, part);
      throw new Lost();
    }
    open.shift();
    done = counts;
    parts.push(part);
    deps.onLines(plus(NO_LINES, outcomes));
    await Promise.all(outcomes.map(({ job }) => job && lineJobs.erase(job)));
  }

  return {
    parts,
    get halted() {
      return halt.signal.aborted ? halt.signal.reason : null;
    },
    stop,
    now,
    begin,
    advance,
    drain,
    close() {
      stopReporting();
      lineJobs.close();
    },
  };
}

function plus(counts: Readonly<LineCounts>, outcomes: readonly Outcome[]): LineCounts {
  const sum = { ...counts };
  for (const { status } of outcomes) sum[status]++;
  return sum;
}

/** Another driver has the batch. */
export class Lost extends Error {}
