/**
 * Dynamic batcher: tasks of equal kind wait for each other a little and run together.
 *
 *   forming -> closed -> handed over -> results
 *
 * A kind is a model version and a shape; only tasks of one kind share a batch. Tasks are added to a forming batch until it
 * closes, and it closes
 *   - when the next task would not fit (`maxBatchSize` counts instances, `maxBatchBytes` their input),
 *   - when its oldest task has waited `maxDelayMs`,
 *   - at once when a child is idle, because nobody waits for company while a child has nothing to do.
 *
 * Promises:
 *   - A closed batch may be handed over while others run, so that a child finds it ready. For each child at most
 *     `maxInFlight` batches are handed over at a time.
 *   - Over all kinds the batch with the most urgent task goes first, then the oldest. No batch is overtaken for longer than
 *     `OVERTAKEN_MS`.
 *   - Background tasks go only while nothing else is there.
 *   - A task whose signal aborts leaves a batch that was not handed over.
 *
 * The batcher knows neither tensors nor processes; only its clock makes it impure. It follows the batchers of TensorFlow
 * Serving (BatchingSession) and of Hugging Face's Text Embeddings Inference.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Selection } from '../protocol/messages.js';

export interface BatchPolicy {
  /** How many instances a batch holds at most. */
  maxBatchSize: number;
  /** How long the oldest task waits for others, unless the children are busy for longer. */
  maxDelayMs: number;
  /** How much input a batch holds at most; a task that is larger has a batch of its own. */
  maxBatchBytes?: number;
  /** How many batches are handed over for each child at a time, this one among them. */
  maxInFlight: number;
  /** Hears of every batch whose first task has this policy. */
  onRan?: (ran: RanBatch) => void;
}

export interface RanBatch {
  /** How many instances it held. */
  size: number;
  computeMs: number;
  /** The least number of instances for which the memory did not suffice; null when it did. */
  outOfMemoryAt: number | null;
}

export interface Task<I> {
  /** Names the model version and the shape. */
  kind: string;
  policy: BatchPolicy;
  /** There are at most `policy.maxBatchSize`. */
  instances: readonly I[];
  /** The signature and outputs that are computed, alike for all tasks of a kind. */
  select?: Selection | undefined;
  /** The job that it is of. */
  owner?: string;
  /** How large its input is. */
  bytes: number;
  /** How long each instance may compute. */
  timeoutMs: number;
  signal?: AbortSignal;
  /** A lower rank goes first; 0 where left out. */
  rank?: number;
  /** A background task is computed only while nothing else waits or runs. All tasks of its kind are such. */
  isBackground?: boolean;
}

export interface TaskResult<R> {
  /** There is one for each instance of the task, in their order. */
  results: R[];
  /** The time from submit until its batch was handed over. */
  waitMs: number;
  /** How long the whole batch was computed. */
  computeMs: number;
  /** How many instances the batch held. */
  batchSize: number;
}

export interface Batch<I> {
  kind: string;
  instances: I[];
  select?: Selection | undefined;
  /** The limit of each instance, as its task has it. */
  timeoutsMs: number[];
}

export interface BatcherDeps<I, R> {
  clock: Clock;
  /** Resolves with one result for each instance, in their order. */
  run: (batch: Batch<I>) => Promise<{ results: R[]; computeMs: number; outOfMemoryAt?: number | null }>;
  /** How many batches can be computed at the same time; 1 where left out. */
  children?: number;
  /** Bound of the tasks that wait; more are refused. */
  maxEnqueued: number;
  onBatch?: (batch: { kind: string; size: number; waitMs: number; computeMs: number }) => void;
}

export interface Batcher<I, R> {
  /**
   * Resolves with the task's part of its batch's results. Rejects with the error of `run`, with the signal's reason, or at
   * once when the batcher is full.
   */
  submit(task: Task<I>): Promise<TaskResult<R>>;
  /** How many tasks have not been handed over. */
  readonly enqueued: number;
}

interface Entry<I, R> {
  task: Task<I>;
  submittedMs: number;
  resolve: (result: TaskResult<R>) => void;
  reject: (reason: unknown) => void;
  onAbort: () => void;
}

interface Forming<I, R> {
  kind: string;
  entries: Entry<I, R>[];
  size: number;
  bytes: number;
  cancelDelay: () => void;
}

/** A batch whose oldest task has waited for so long goes before more urgent ones. */
const OVERTAKEN_MS = 1000;

/** Returns a batcher that hands its batches to `run`. */
export function createBatcher<I, R>({
  clock,
  run,
  children = 1,
  maxEnqueued,
  onBatch,
}: BatcherDeps<I, R>): Batcher<I, R> {
  const forming = new Map<string, Forming<I, R>>();
  const closed: Forming<I, R>[] = [];
  let enqueued = 0;
  let inFlight = 0;
  let dispatchPlanned = false;

  function submit(task: Task<I>): Promise<TaskResult<R>> {
    if (task.signal?.aborted) return Promise.reject(task.signal.reason);
    if (task.instances.length > task.policy.maxBatchSize)
      return Promise.reject(new Error('A task is larger than a batch. This is a bug.'));
    if (enqueued >= maxEnqueued)
      return Promise.reject(new Error(`The batcher is full: ${enqueued} tasks wait.`));
    return new Promise((resolve, reject) => {
      const onAbort = () => leave(entry);
      const entry: Entry<I, R> = { task, submittedMs: clock.monotonic(), resolve, reject, onAbort };
      add(entry);
      task.signal?.addEventListener('abort', onAbort, { once: true });
      planDispatch();
    });
  }

  function add(entry: Entry<I, R>): void {
    const { kind, policy, instances, bytes } = entry.task;
    const { maxBatchSize, maxBatchBytes = Number.POSITIVE_INFINITY } = policy;
    let batch = forming.get(kind);
    if (batch && (batch.size + instances.length > maxBatchSize || batch.bytes + bytes > maxBatchBytes)) {
      close(batch);
      batch = undefined;
    }
    if (!batch) {
      const opened: Forming<I, R> = { kind, entries: [], size: 0, bytes: 0, cancelDelay: () => {} };
      opened.cancelDelay = clock.after(policy.maxDelayMs, () => {
        close(opened);
        dispatch();
      });
      forming.set(kind, opened);
      batch = opened;
    }
    batch.entries.push(entry);
    batch.size += instances.length;
    batch.bytes += bytes;
    enqueued++;
    if (batch.size >= maxBatchSize || batch.bytes >= maxBatchBytes) close(batch);
  }

  function close(batch: Forming<I, R>): void {
    batch.cancelDelay();
    if (forming.get(batch.kind) === batch) forming.delete(batch.kind);
    if (batch.entries.length > 0) closed.push(batch);
  }

  function leave(entry: Entry<I, R>): void {
    const batches = [...closed, ...forming.values()];
    const batch = batches.find(({ entries }) => entries.includes(entry));
    if (!batch) return; // It was handed over, and its results are waited for.
    batch.entries.splice(batch.entries.indexOf(entry), 1);
    batch.size -= entry.task.instances.length;
    batch.bytes -= entry.task.bytes;
    enqueued--;
    if (batch.entries.length === 0) discard(batch);
    entry.reject(entry.task.signal?.reason);
  }

  function discard(batch: Forming<I, R>): void {
    batch.cancelDelay();
    if (forming.get(batch.kind) === batch) forming.delete(batch.kind);
    const index = closed.indexOf(batch);
    if (index >= 0) closed.splice(index, 1);
  }

  /** Dispatches at the end of this turn of the event loop, so that tasks that arrive in it meet. */
  function planDispatch(): void {
    if (dispatchPlanned) return;
    dispatchPlanned = true;
    clock.soon(() => {
      dispatchPlanned = false;
      dispatch();
    });
  }

  function dispatch(): void {
    for (;;) {
      if (!closed.some(isForeground) && inFlight < children) closeNext();
      const batch = mostUrgent(closed) ?? (inFlight === 0 ? closed[0] : undefined);
      const most = children * (batch?.entries[0]?.task.policy.maxInFlight ?? 0);
      if (!batch || inFlight >= most) return;
      closed.splice(closed.indexOf(batch), 1);
      void execute(batch);
    }
  }

  /** Returns the first of the most urgent batches, none in the background. */
  function mostUrgent(batches: readonly Forming<I, R>[]): Forming<I, R> | undefined {
    const ranked = batches.filter(isForeground).map((batch) => ({ batch, rank: rankOf(batch) }));
    return ranked.reduce<(typeof ranked)[number] | undefined>(
      (best, each) => (best && best.rank <= each.rank ? best : each),
      undefined,
    )?.batch;
  }

  function rankOf({ entries: [first, ...others] }: Forming<I, R>): number {
    if (!first || clock.monotonic() - first.submittedMs >= OVERTAKEN_MS) return 0;
    return Math.min(...[first, ...others].map(({ task }) => task.rank ?? 0));
  }

  /** Closes the most urgent forming batch; one in the background only where there is no other and nothing runs. */
  function closeNext(): void {
    // A map keeps the order in which batches were opened.
    const open = [...forming.values()];
    const next = mostUrgent(open) ?? (closed.length + inFlight === 0 ? open[0] : undefined);
    if (next) close(next);
  }

  async function execute({ kind, entries, size }: Forming<I, R>): Promise<void> {
    const handedOverMs = clock.monotonic();
    inFlight++;
    enqueued -= entries.length;
    for (const { task, onAbort } of entries) task.signal?.removeEventListener('abort', onAbort);
    try {
      const {
        results,
        computeMs,
        outOfMemoryAt = null,
      } = await run({
        kind,
        select: entries[0]?.task.select,
        instances: entries.flatMap(({ task }) => task.instances),
        timeoutsMs: entries.flatMap(({ task }) => task.instances.map(() => task.timeoutMs)),
      });
      let offset = 0;
      for (const { task, submittedMs, resolve } of entries) {
        const end = offset + task.instances.length;
        resolve({
          results: results.slice(offset, end),
          waitMs: handedOverMs - submittedMs,
          computeMs,
          batchSize: size,
        });
        offset = end;
      }
      entries[0]?.task.policy.onRan?.({ size, computeMs, outOfMemoryAt });
      onBatch?.({ kind, size, waitMs: handedOverMs - (entries[0]?.submittedMs ?? handedOverMs), computeMs });
    } catch (error) {
      for (const { reject } of entries) reject(error);
    } finally {
      inFlight--;
      planDispatch();
    }
  }

  return {
    submit,
    get enqueued() {
      return enqueued;
    },
  };
}

function isForeground({ entries }: Forming<unknown, never>): boolean {
  return !entries[0]?.task.isBackground;
}
