/**
 * Child supervisor: the parent's side of one child that computes.
 *
 *   starting -> up -> (the child died, or has served its time) -> starting …          closed at the end
 *
 * Promises:
 *   - A child that dies is replaced, at once unless that was of no use (crash-loop.ts), and the next one loads its versions
 *     again (expected-versions.ts).
 *   - A call that outlasts its limit, counted from when the child turned to it, costs the child (pending-calls.ts).
 *   - A child whose backend throws again and again, and on the example of the version too, is replaced.
 *   - A child that hangs while it has nothing to do is found by its heartbeat: it answers a ping in time, or is replaced.
 *   - A child that has served its time (recycle-policy.ts) finishes what it has, then another takes its place.
 */
import { sleep } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { versionKey } from '../../../shared/contract/models/model-ref.js';
import { type ChildProcessDeps, type StartedChild, startChild } from '../../process/child-process.js';
import { createCrashLoop } from '../../process/crash-loop.js';
import { CallFailed } from '../../process/pending-calls.js';
import { createRecyclePolicy, type RecycleLimits } from '../../process/recycle-policy.js';
import type { BackendReport, ChildOptions, LoadReport } from '../protocol/messages.js';
import {
  type ChildCalls,
  type ChildMessage,
  createChildCalls,
  type RanReply,
  type RunCall,
} from './child-calls.js';
import { createExpectedVersions } from './expected-versions.js';

/** Hears what happens to the child. */
export interface ChildListener {
  /** A child is up, or is waited for because children die again and again. */
  onChange?: () => void;
  /** A version could not be loaded again; the child does not have it any more. */
  onVersionLost?: (manifest: Manifest, error: unknown) => void;
  /** A child has died and is replaced. */
  onDeath?: () => void;
  /** A child has served its time and is replaced. */
  onRecycle?: () => void;
}

/** How long a child may take; where left out, long enough for the largest models. */
export interface ChildTiming {
  /** Bound of the time from its start until it is up. */
  upTimeoutMs?: number;
  /** Bound of loading one version. */
  loadTimeoutMs?: number;
  /** How often a child that has nothing to do is pinged, and how long its reply may take. */
  heartbeat?: { periodMs: number; limitMs: number };
}

export interface ChildSupervisorDeps
  extends Pick<ChildProcessDeps<ChildMessage>, 'child' | 'environment' | 'clock' | 'log'> {
  options: ChildOptions;
  timing?: ChildTiming | undefined;
  /** There are no limits where left out. */
  recycle?: RecycleLimits | undefined;
  /** Asked when a child has served its time; where it says no, it is asked again after the next batch. */
  mayRecycle: () => boolean;
  listener?: ChildListener | undefined;
}

export interface ChildSupervisor extends Pick<ChildCalls, 'measure' | 'run'> {
  /** Starts the first child and resolves when it is up; rejects with the reason when it is not. */
  start(): Promise<BackendReport>;
  /** Goes on as after a death: tries until a child is up. */
  startAgain(): void;
  /** Whether its children die again and again. */
  readonly isCrashLooping: boolean;
  /** Whether there is a child that has loaded what it shall. */
  readonly isUp: boolean;
  /** The child's process id, null while there is none. */
  readonly pid: number | null;
  /** The memory that the child held after its last batch, in bytes; null before the first. */
  readonly rssBytes: number | null;
  /** How many calls the child has not replied to. */
  readonly pendingCalls: number;
  /** Returns whether its child has the version, or will have once it is up. */
  has(model: string, version: number): boolean;
  /** Loads a version into the child, and into those that follow it. */
  load(folder: string, manifest: Manifest, found?: readonly string[]): Promise<LoadReport>;
  /** Has the child that is being started load the version, too. */
  expect(folder: string, manifest: Manifest): void;
  /** Frees what a version holds; a child that is being started will not have it. */
  unload(model: string, version: number): Promise<void>;
  /** Ends the child; what it was computing is lost. */
  close(): Promise<void>;
}

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** When the backend threw on so many runs, one after the other, the child is asked whether it can compute at all. */
const MAX_THROWS = 8;
const EXAMPLE_RUN = { batchSize: 1, budgetMs: 0, leastRuns: 1 };
const HEARTBEAT = { periodMs: 5000, limitMs: 10_000 };
const NO_LIMITS: RecycleLimits = { maxBatches: 0, maxRssBytes: 0 };

/** Returns a supervisor whose first child waits for `start`. */
export function createChildSupervisor(deps: ChildSupervisorDeps): ChildSupervisor {
  const { child, environment, clock, log, timing = {}, mayRecycle, listener = {} } = deps;
  const { upTimeoutMs, loadTimeoutMs, heartbeat = HEARTBEAT } = timing;
  const recyclePolicy = createRecyclePolicy(deps.recycle ?? NO_LIMITS);
  const crashLoop = createCrashLoop(clock);
  const calls = createChildCalls(clock, () => current, loadTimeoutMs);
  const closing = new AbortController();
  const versions = createExpectedVersions({
    calls,
    isClosing: () => closing.signal.aborted,
    onLost: (manifest, error) => listener.onVersionLost?.(manifest, error),
  });
  let rssBytes: number | null = null;
  let throws = 0;
  let current: StartedChild<BackendReport> | null = null;
  let { backend } = deps.options;
  let starting = true;
  let up: Promise<void> = Promise.resolve();

  const stopHeartbeat = clock.every(heartbeat.periodMs, () => {
    // A call that is pending has a limit of its own.
    if (starting || calls.pending > 0) return;
    calls.ping(heartbeat.limitMs).catch((error: unknown) => log.warn({ err: error }, 'no sign of the child'));
  });

  /** Starts a child and resolves when it is up. */
  function spawn(): Promise<BackendReport> {
    rssBytes = null;
    throws = 0;
    recyclePolicy.reset();
    current = startChild<BackendReport, ChildMessage>({
      child,
      options: { ...deps.options, backend },
      environment,
      clock,
      log,
      upTimeoutMs,
      onMessage(message) {
        // The run is noted first, so that whoever waits for the reply finds a child that is to be replaced on its way out.
        if (message.type === 'ran') noteRun(message);
        calls.hear(message);
      },
      onGone(why) {
        const batch = calls.lose(why);
        if (!closing.signal.aborted && !starting) up = replaceDead(why, batch);
      },
    });
    return current.up;
  }

  async function replaceDead(why: string, batch: object | null): Promise<void> {
    log.warn({ why }, 'child died, starting another');
    crashLoop.died(batch);
    listener.onDeath?.();
    await bringUp();
  }

  /** Calls that are made meanwhile wait for the next child. */
  async function recycle(why: string): Promise<void> {
    log.info({ why }, 'child has served its time, starting another');
    listener.onRecycle?.();
    starting = true;
    await calls.idle();
    await endChild();
    await bringUp();
  }

  function recycleIfAllowed(why: string): void {
    if (!starting && !closing.signal.aborted && mayRecycle()) up = recycle(why);
  }

  /** Tries until a child is up and has loaded the versions, or the supervisor is closed. */
  async function bringUp(): Promise<void> {
    starting = true;
    let backoffMs = FIRST_BACKOFF_MS;
    while (!closing.signal.aborted) {
      const { waitMs } = crashLoop;
      if (waitMs > 0) {
        log.error({ waitMs }, 'children die again and again, waiting before another is started');
        listener.onChange?.();
        await sleep(clock, waitMs, closing.signal);
        if (closing.signal.aborted) return;
      }
      try {
        await spawn();
        await versions.loadAll();
        isNowUp();
        return;
      } catch (error) {
        crashLoop.died(null);
        log.error({ err: error, backoffMs }, 'child does not come up');
        await endChild();
        await sleep(clock, backoffMs, closing.signal);
        backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
      }
    }
  }

  function isNowUp(): void {
    starting = false;
    crashLoop.up();
    listener.onChange?.();
  }

  function noteRun(ran: RanReply): void {
    throws = 0;
    rssBytes = ran.rssBytes;
    crashLoop.computed();
    const why = recyclePolicy.reasonAfter(ran.rssBytes);
    if (why !== null) recycleIfAllowed(why);
  }

  /** A backend that throws on the version's own example, and not on bad input alone, needs another process. */
  async function suspectBackend({ model, version }: RunCall): Promise<void> {
    if (++throws % MAX_THROWS !== 0) return;
    const fault = await calls.measure(model, version, EXAMPLE_RUN).then(
      () => null,
      (error: unknown) => error,
    );
    if (fault instanceof CallFailed && fault.code === 'backend_error')
      recycleIfAllowed(
        `the backend throws on the example of ${versionKey(model, version)}: ${messageOf(fault)}`,
      );
  }

  async function endChild(): Promise<void> {
    await current?.end();
  }

  return {
    async start() {
      const report = await spawn();
      // Later children keep the backend that `auto` chose, because the versions were placed on it.
      backend = report.name;
      isNowUp();
      return report;
    },
    startAgain() {
      up = endChild().then(bringUp);
    },
    get isCrashLooping() {
      return crashLoop.isLooping;
    },
    get isUp() {
      return !starting && current?.isConnected === true;
    },
    get pendingCalls() {
      return calls.pending;
    },
    get pid() {
      return current?.pid ?? null;
    },
    get rssBytes() {
      return rssBytes;
    },
    has: versions.has,
    expect: versions.add,
    async load(folder, manifest, found) {
      await up;
      const report = await calls.load(folder, manifest, found);
      versions.add(folder, manifest);
      return report;
    },
    async unload(model, version) {
      versions.remove(model, version);
      if (starting) return;
      await calls.unload(model, version).catch((error: unknown) => {
        // A child that died took what it held with it, and the next one does not load the version.
        if (!(error instanceof CallFailed) || error.code === 'backend_error') throw error;
      });
    },
    async measure(model, version, measurement) {
      await up;
      return calls.measure(model, version, measurement);
    },
    async run(call, timeoutMs, batch) {
      try {
        return await calls.run(call, timeoutMs, batch);
      } catch (error) {
        if (error instanceof CallFailed && error.code === 'backend_error') void suspectBackend(call);
        throw error;
      }
    },
    async close() {
      closing.abort();
      stopHeartbeat();
      await endChild();
    },
  };
}
