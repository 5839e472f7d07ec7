/**
 * A batch run: the state of one driver while it drives one batch.
 *
 * Two chunks of lines are open at once: one ends while the next is submitted. The results of a chunk are stored before its
 * jobs are erased, so a driver that dies in between loses nothing.
 */
import { type LineCounts, NO_LINES } from '../../shared/contract/batch.js';
import type { BatchPart } from '../../shared/core/batches/batch-record.js';
import type { TakenBatch } from '../../shared/core/batches/batches.js';
import type { BatchResults, LineResult } from './batch-results.js';
import type { JsonLine } from './json-lines.js';
import { createLineJobs, type LineJobsDeps } from './line-jobs.js';

export interface BatchRunDeps extends LineJobsDeps {
  results: BatchResults;
  /** Called once for each chunk, with the counts of its lines. */
  onLines: (counts: LineCounts) => void;
}

export interface BatchRun {
  /** The parts that are stored. */
  parts: BatchPart[];
  /** The reason why no further line becomes a job; null while lines do. */
  readonly halted: 'canceled' | 'expired' | null;
  /** Aborts when the process closes or another driver has taken the batch. */
  stop: AbortSignal;
  /** Returns the time by Redis' clock, in milliseconds since the Unix epoch. */
  now(): number;
  /** Erases what an earlier driver left and begins to report; `total` is the number of lines of the input. */
  start(total: number): Promise<void>;
  /** Submits the jobs of a chunk. If `OPEN_CHUNKS` chunks are open, it waits first until the oldest has ended and is stored. */
  submitChunk(chunk: readonly JsonLine[]): Promise<void>;
  /** Waits until every open chunk has ended and is stored. */
  drain(): Promise<void>;
  /** Stops reporting and watching jobs. */
  close(): void;
}

interface OpenChunk {
  /** The results of the lines that have ended so far. */
  results: LineResult[];
  ended: Promise<LineResult>[];
}

/** The period in which a batch writes its progress and learns whether it is canceled or has expired. */
const REPORT_MS = 500;
const OPEN_CHUNKS = 2;
/** The number of lines that are read and encoded without a pause; between two windows the event loop serves others. */
const WINDOW = 25;

/**
 * Returns the run of a batch that this process has taken. `closing` aborts when the process closes.
 *
 * Every function rejects with the reason of `stop` once that has aborted; the reason is a `LostBatch` when another driver has
 * taken the batch.
 */
export function createBatchRun(deps: BatchRunDeps, taken: TakenBatch, closing: AbortSignal): BatchRun {
  const { results, clock, onError } = deps;
  const { batches } = deps.core;
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

  async function start(lines: number): Promise<void> {
    total = lines;
    await eraseLastPart();
    await report();
    stopReporting = clock.every(REPORT_MS, () => {
      report().catch((error: unknown) => onError('batch', error));
    });
  }

  /** The previous driver may have died after it stored a part and before it erased the jobs of that part. */
  async function eraseLastPart(): Promise<void> {
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
        open.flatMap((chunk) => chunk.results),
      );
      const instruction = await batches.report(taken, total, counts);
      if (instruction === 'lost') lost.abort(new LostBatch());
      if (instruction === 'cancel') halt.abort('canceled');
      // Waiting jobs expire by themselves, because they carry the batch's deadline. Running jobs may finish.
      if (instruction === 'expire') halt.abort('expired');
      // This repeats, because a job may have been on its way to the queue when the others were canceled.
      if (halt.signal.reason === 'canceled') await lineJobs.cancelAll();
    } finally {
      reporting = false;
    }
  }

  async function submitChunk(chunk: readonly JsonLine[]): Promise<void> {
    if (open.length === OPEN_CHUNKS) await endOldest();
    const opened = openChunk();
    for (let start = 0; start < chunk.length; start += WINDOW) {
      stop.throwIfAborted();
      const window = chunk.slice(start, start + WINDOW);
      for (const { ended } of await Promise.all(window.map(lineJobs.submit))) {
        void ended.then((result) => opened.results.push(result));
        opened.ended.push(ended);
      }
    }
  }

  function openChunk(): OpenChunk {
    const chunk: OpenChunk = { results: [], ended: [] };
    open.push(chunk);
    return chunk;
  }

  async function drain(): Promise<void> {
    while (open.length > 0) await endOldest();
  }

  /** Waits for the oldest chunk, and stores its results before it erases its jobs. */
  async function endOldest(): Promise<void> {
    const [chunk] = open;
    if (!chunk) return;
    const index = parts.length;
    const lineResults = await Promise.race([Promise.all(chunk.ended), stopped]);
    const part = await results.writePart(record.spec, index, taken.token, lineResults);
    const counts = plus(done, lineResults);
    if (!(await batches.addPart(taken, index, part, counts))) {
      await results.dropPart(record.spec, index, part);
      throw new LostBatch();
    }
    open.shift();
    done = counts;
    parts.push(part);
    deps.onLines(plus(NO_LINES, lineResults));
    await Promise.all(lineResults.map(({ job }) => job && lineJobs.erase(job)));
  }

  return {
    parts,
    get halted() {
      return halt.signal.aborted ? halt.signal.reason : null;
    },
    stop,
    now,
    start,
    submitChunk,
    drain,
    close() {
      stopReporting();
      lineJobs.close();
    },
  };
}

function plus(counts: Readonly<LineCounts>, lineResults: readonly LineResult[]): LineCounts {
  const sum = { ...counts };
  for (const { status } of lineResults) sum[status]++;
  return sum;
}

/** Another driver has taken the batch, so this one must change nothing more. */
export class LostBatch extends Error {}
