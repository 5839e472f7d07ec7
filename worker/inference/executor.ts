/**
 * Executor: the parent's side of the child that computes.
 *
 *   starting -> up -> (child died) -> starting …          closed at the end
 *
 * The parent keeps BullMQ's locks and never touches a tensor, so a native crash costs a child, not a lock. Promises:
 *   - a child that dies is started again and the versions it had are loaded again; runs meanwhile wait;
 *   - the batch it was computing runs again by halves, until the instance at fault is alone: that one fails with
 *     `input_crashed_backend`, after at most ceil(log2 size) + 1 crashes; the others get their results;
 *   - a batch that waited behind it runs again whole;
 *   - a child that has served its time (wear.ts) finishes what it has, then another takes its place; nothing is run again;
 *   - a batch that the backend throws on is halved in the same way, without a crash (`backend_error`);
 *   - a batch that outlasts the shortest limit in it costs the child too; then each instance runs alone under its own limit,
 *     so that one which hangs costs its limit twice, and the others nothing but the wait (`timeout`).
 *   - a batch for which the memory does not suffice is one of these, and its size is told, so that the next are smaller.
 * An instance that was alone from the start is tried twice: its child may have been killed by somebody else.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Clock, sleep } from '../../shared/base/clock.js';
import { inheritedEnvironment } from '../../shared/base/config.js';
import type { ErrorCode } from '../../shared/base/errors.js';
import type { Logger } from '../../shared/base/telemetry.js';
import type { Manifest } from '../../shared/contract/model.js';
import type { Instance } from '../../shared/contract/tensor.js';
import type {
  BackendReport,
  ChildOptions,
  FromChild,
  InstanceResult,
  LoadReport,
  Speed,
  ToChild,
} from './messages.js';
import { createWear, type WearLimits } from './wear.js';

export interface ExecutorDeps {
  /** The child's entry point. */
  child: URL;
  options: ChildOptions;
  /** Added to the child's environment, such as where CUDA's libraries lie. */
  environment: Record<string, string>;
  clock: Clock;
  log: Logger;
  /** None where left out. */
  wear?: WearLimits;
  /** Of one version. */
  loadTimeoutMs?: number;
  /** A child has died. */
  onRespawn?: () => void;
  /** A child has served its time. */
  onRenew?: () => void;
}

export interface Run {
  model: string;
  version: number;
  /** Of equal shapes, at most the version's maxBatchSize. */
  instances: Instance[];
  /** Of each instance: how long it may compute. The shortest holds for all that compute together. */
  timeoutsMs: number[];
}

export interface RunResult {
  results: InstanceResult[];
  computeMs: number;
  /** The least number of instances for which the memory did not suffice; null when it did. */
  outOfMemoryAt: number | null;
}

/** How a call ended when it did not end with an answer. */
class CallFailed extends Error {
  constructor(
    readonly code: 'backend_error' | 'input_crashed_backend' | 'timeout',
    message: string,
    /** False when the call only waited behind the one at fault. */
    readonly suspect: boolean,
  ) {
    super(message);
  }
}

interface Call {
  resolve: (answer: Answer) => void;
  reject: (reason: Error) => void;
  /** From the moment the child turns to this call. */
  timeoutMs: number | null;
  cancelTimer: (() => void) | null;
}

/** What settles a call. */
type Answer = Exclude<Extract<FromChild, { call: number }>, { type: 'computing' }>;
type Ask = ToChild extends infer M ? (M extends { call: number } ? Omit<M, 'call'> : never) : never;

/** As TensorFlow, WebAssembly and V8 say it. */
const OUT_OF_MEMORY = /\bOOM\b|out of memory|memory allocation|allocation failed|Memory\.grow/i;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** Of verifying, loading and warming up: a graph may run for ever. */
const LOAD_TIMEOUT_MS = 600_000;
/** A backend that needs longer for a few runs is none to choose. */
const MEASURE_TIMEOUT_MS = 60_000;
/** How long a child may go on after its channel was cut. */
const EXIT_GRACE_MS = 2000;

export type Executor = Awaited<ReturnType<typeof startExecutor>>;

/** Resolves once the first child is up; rejects when no configured backend loads. */
export async function startExecutor({
  child: entry,
  options,
  environment,
  clock,
  log,
  wear: limits = { maxBatches: 0, maxRssBytes: 0 },
  loadTimeoutMs = LOAD_TIMEOUT_MS,
  onRespawn,
  onRenew,
}: ExecutorDeps) {
  const wear = createWear(limits);
  const calls = new Map<number, Call>();
  const loaded = new Map<string, { folder: string; manifest: Manifest }>();
  let rssBytes: number | null = null;
  let nextCall = 1;
  let closed = false;
  let current: ChildProcess | null = null;
  /** The call that the child told to have turned to. */
  let computing: number | null = null;
  let timedOut: number | null = null;
  let respawning = false;
  /** Told once no call is without an answer. */
  let onIdle: (() => void) | null = null;

  let report = await spawn();
  let up: Promise<void> = Promise.resolve();

  /** Starts a child and resolves when it is up. */
  function spawn(): Promise<BackendReport> {
    return new Promise((resolve, reject) => {
      const child = fork(fileURLToPath(entry), [JSON.stringify(options)], {
        serialization: 'advanced',
        env: inheritedEnvironment(environment),
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      current = child;
      rssBytes = null;
      wear.renew();
      let isUp = false;
      child.on('message', (message) => {
        const from = message as FromChild;
        if (from.type === 'up') {
          isUp = true;
          resolve(from.backend);
        } else if (from.type === 'refused') {
          reject(new Error(from.reason));
        } else if (from.type === 'computing') {
          computing = from.call;
          watch();
        } else {
          answer(from);
        }
      });
      child.on('error', (error) => log.error({ err: error }, 'child'));
      child.once('exit', (code, signal) => {
        current = null;
        if (!isUp)
          return reject(new Error(`The child ended before it was up (${signal ?? `exit code ${code}`}).`));
        failOutstanding(signal ?? `exit code ${code}`);
        if (!closed && !respawning) up = respawn(signal ?? `exit code ${code}`);
      });
    });
  }

  async function respawn(why: string): Promise<void> {
    log.warn({ why }, 'child died, starting another');
    onRespawn?.();
    await bringUp();
  }

  /** What comes meanwhile waits for the next child. */
  async function renew(why: string): Promise<void> {
    log.info({ why }, 'child has served its time, starting another');
    onRenew?.();
    respawning = true;
    await idle();
    await endChild();
    await bringUp();
  }

  async function idle(): Promise<void> {
    if (calls.size === 0) return;
    await new Promise<void>((resolve) => {
      onIdle = resolve;
    });
    onIdle = null;
  }

  function askToLoad(folder: string, manifest: Manifest): Promise<Answer> {
    return ask({ type: 'load', folder, manifest }, loadTimeoutMs);
  }

  async function bringUp(): Promise<void> {
    respawning = true;
    for (let backoffMs = FIRST_BACKOFF_MS; !closed; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
      try {
        report = await spawn();
        for (const { folder, manifest } of loaded.values()) await askToLoad(folder, manifest);
        respawning = false;
        return;
      } catch (error) {
        log.error({ err: error, backoffMs }, 'child does not come up');
        await endChild();
        await sleep(clock, backoffMs);
      }
    }
  }

  function answer(message: Answer): void {
    const call = calls.get(message.call);
    if (!call) return;
    calls.delete(message.call);
    call.cancelTimer?.();
    if (message.call === computing) computing = null;
    watch();
    if (calls.size === 0) onIdle?.();
    if (message.type === 'ran') rssBytes = message.rssBytes;
    const why = message.type === 'ran' ? wear.reasonAfter(message.rssBytes) : null;
    if (why !== null && !respawning && !closed) up = renew(why);
    if (message.type === 'failed') call.reject(new CallFailed('backend_error', message.message, true));
    else call.resolve(message);
  }

  /** It died of the call that it had turned to. */
  function failOutstanding(why: string): void {
    const hung = timedOut;
    timedOut = null;
    const suspect = turnedTo();
    const outstanding = [...calls];
    calls.clear();
    onIdle?.();
    computing = null;
    for (const [number, call] of outstanding) {
      call.cancelTimer?.();
      const code = hung === number ? 'timeout' : 'input_crashed_backend';
      const message =
        code === 'timeout' ? 'The execution took too long.' : `The backend's process died (${why}).`;
      call.reject(new CallFailed(code, message, number === suspect));
    }
  }

  function ask(message: Ask, timeoutMs: number | null = null): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const child = current;
      if (!child?.connected)
        return reject(new CallFailed('input_crashed_backend', 'The child is gone.', false));
      const number = nextCall++;
      calls.set(number, { resolve, reject, timeoutMs, cancelTimer: null });
      child.send({ ...message, call: number } as ToChild, (error) => {
        // The exit that follows rejects the call.
        if (error) log.debug({ err: error }, 'send to child');
      });
      watch();
    });
  }

  /** The child works in order: the oldest call without an answer, unless it has told that it is further. */
  function turnedTo(): number | undefined {
    if (computing !== null && calls.has(computing)) return computing;
    return calls.keys().next().value;
  }

  /** Only the call that the child is working on is timed. */
  function watch(): void {
    const turn = turnedTo();
    for (const [number, call] of calls) {
      if (number === turn) continue;
      call.cancelTimer?.();
      call.cancelTimer = null;
    }
    const call = turn === undefined ? undefined : calls.get(turn);
    if (!call || call.timeoutMs === null || call.cancelTimer) return;
    call.cancelTimer = clock.after(call.timeoutMs, () => {
      timedOut = turn ?? null;
      current?.kill('SIGKILL');
    });
  }

  /** Of what is tried again the backend is given no more than there is: what was added may be what did not fit. */
  async function attempt({ timeoutsMs, ...run }: Run, exact: boolean): Promise<RunResult> {
    for (;;) {
      await up;
      if (closed) throw new Error('The executor is closed.');
      try {
        const ran = await ask({ type: 'run', ...run, exact }, Math.min(...timeoutsMs));
        if (ran.type !== 'ran') throw new Error(`The child answered ${ran.type}. This is a bug.`);
        return { results: ran.results, computeMs: ran.computeMs, outOfMemoryAt: null };
      } catch (error) {
        if (!(error instanceof CallFailed) || error.suspect || closed) throw error;
        // Innocent, but its child is gone: once more with the next one.
      }
    }
  }

  async function runAll(run: Run, suspected: boolean): Promise<RunResult> {
    try {
      return await attempt(run, suspected);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      const size = run.instances.length;
      if (size > 1) {
        const whole = await runParts(run, error.code === 'timeout' ? 1 : Math.ceil(size / 2));
        if (OUT_OF_MEMORY.test(error.message)) whole.outOfMemoryAt ??= size;
        return whole;
      }
      if (!suspected && error.code !== 'backend_error') return runAll(run, true);
      return { results: [failure(error.code, error.message)], computeMs: 0, outOfMemoryAt: null };
    }
  }

  /** Runs a batch at fault again, in parts of `size` instances, one after the other. */
  async function runParts(run: Run, size: number): Promise<RunResult> {
    const whole: RunResult = { results: [], computeMs: 0, outOfMemoryAt: null };
    for (let from = 0; from < run.instances.length; from += size) {
      const part = await runAll(
        {
          ...run,
          instances: run.instances.slice(from, from + size),
          timeoutsMs: run.timeoutsMs.slice(from, from + size),
        },
        true,
      );
      whole.results.push(...part.results);
      whole.computeMs += part.computeMs;
      const least = Math.min(
        whole.outOfMemoryAt ?? Number.POSITIVE_INFINITY,
        part.outOfMemoryAt ?? Number.POSITIVE_INFINITY,
      );
      whole.outOfMemoryAt = Number.isFinite(least) ? least : null;
    }
    return whole;
  }

  return {
    get backend(): BackendReport {
      return report;
    },
    /** The child's process id, null while there is none. */
    get pid(): number | null {
      return current?.pid ?? null;
    },
    /** What the child held after its last batch, in bytes; null before the first. */
    get rssBytes(): number | null {
      return rssBytes;
    },
    /** Loads, verifies and warms up a version; rejects with the reason when it must not serve. */
    async load(folder: string, manifest: Manifest): Promise<LoadReport> {
      await up;
      const answered = await askToLoad(folder, manifest);
      if (answered.type !== 'loaded') throw new Error(`The child answered ${answered.type}. This is a bug.`);
      loaded.set(`${manifest.name}@${manifest.version}`, { folder, manifest });
      return answered.report;
    },
    /** Frees what a version holds. */
    async unload(model: string, version: number): Promise<void> {
      loaded.delete(`${model}@${version}`);
      await up;
      await ask({ type: 'unload', model, version }).catch((error: unknown) => {
        // With the child that died went what it held; the next one does not load it.
        if (!(error instanceof CallFailed) || error.code === 'backend_error') throw error;
      });
    },
    /** Times the backend on the version's example for about `budgetMs`; null where it has none. Runs wait meanwhile. */
    async measure(
      model: string,
      version: number,
      batchSize: number,
      budgetMs: number,
    ): Promise<Speed | null> {
      await up;
      const answered = await ask(
        { type: 'measure', model, version, batchSize, budgetMs },
        MEASURE_TIMEOUT_MS,
      );
      if (answered.type !== 'measured')
        throw new Error(`The child answered ${answered.type}. This is a bug.`);
      return answered.speed;
    },
    /** One result for each instance. Rejects only when the executor is closed. */
    run: (run: Run): Promise<RunResult> => runAll(run, false),
    /** Ends the child; what it was computing is lost. */
    async close(): Promise<void> {
      closed = true;
      await endChild();
    },
  };

  async function endChild(): Promise<void> {
    const child = current;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (child.connected) child.disconnect();
    const cancel = clock.after(EXIT_GRACE_MS, () => child.kill('SIGKILL'));
    await gone;
    cancel();
  }
}

function failure(code: ErrorCode, message: string): InstanceResult {
  return { ok: false, code, message };
}
