/**
 * Child supervisor: the parent's side of one child that computes.
 *
 *   starting -> up -> (child died, or has served its time) -> starting …          closed at the end
 *
 * Promises:
 *   - a child that dies is started again, at once unless that was of no use (crash-loop.ts), and the versions it had are loaded again;
 *   - a version that cannot be loaded again is lost, told, and costs the others nothing;
 *   - a call that outlasts its limit, counted from when the child turned to it, costs the child (pending-calls.ts);
 *   - a child whose backend throws on what it is given again and again, and on the example of the version too, is replaced;
 *   - one that stands still while it has nothing to do is found by its heartbeat: it answers a ping in time, or is replaced;
 *   - a child that has served its time (recycle-policy.ts) finishes what it has, then another takes its place.
 */
import { sleep } from '../../../shared/base/clock.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import { type ChildProcessDeps, type StartedChild, startChild } from '../../process/child-process.js';
import { createRespawns } from '../../process/crash-loop.js';
import { CallFailed, createCalls } from '../../process/pending-calls.js';
import { createWear, type RecycleLimits } from '../../process/recycle-policy.js';
import type {
  Answer,
  BackendReport,
  ChildOptions,
  FromChild,
  LoadReport,
  Speed,
  ToChild,
} from '../protocol/messages.js';

/** What the child says once it is up. */
type Heard = Answer | Extract<FromChild, { type: 'computing' }>;

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

export interface ChildSupervisorDeps
  extends Omit<ChildProcessDeps<Heard>, 'onMessage' | 'onGone' | 'options'> {
  options: ChildOptions;
  /** None where left out. */
  recycle?: RecycleLimits | undefined;
  /** Bound of loading one version. */
  loadTimeoutMs?: number | undefined;
  /** How often a child that has nothing to do is pinged, and how long its reply may take. */
  heartbeat?: { periodMs: number; limitMs: number } | undefined;
  /** Asked when a child has served its time; where it says no, it is asked again after the next batch. */
  mayRecycle: () => boolean;
  listener?: ChildListener | undefined;
}

export type RunCall = Omit<Extract<ToChild, { type: 'run' }>, 'type' | 'call'>;
export type RanReply = Extract<FromChild, { type: 'ran' }>;

export interface ChildSupervisor {
  /** Starts the first child and resolves when it is up; rejects with the reason when it is not. */
  start(): Promise<BackendReport>;
  /** As after a death: tries until it is up. */
  startAgain(): void;
  /** Whether its children die again and again. */
  readonly isCrashLooping: boolean;
  /** Whether a child is there that has loaded what it shall. */
  readonly isUp: boolean;
  /** The child's process id, null while there is none. */
  readonly pid: number | null;
  /** What the child held after its last batch, in bytes; null before the first. */
  readonly rssBytes: number | null;
  /** How many calls the child has not replied to. */
  readonly pendingCalls: number;
  /** Whether its child has the version, or will have once it is up. */
  has(model: string, version: number): boolean;
  /** Loads, verifies and warms up a version; rejects with the reason when it must not serve. */
  load(folder: string, manifest: Manifest): Promise<LoadReport>;
  /** The child that is being started shall have the version, too. */
  expect(folder: string, manifest: Manifest): void;
  /** Frees what a version holds; one that is being started will not have it. */
  unload(model: string, version: number): Promise<void>;
  measure(model: string, version: number, batchSize: number, budgetMs: number): Promise<Speed | null>;
  /** `of`: the batch of which it is a part, or the whole. */
  run(run: RunCall, timeoutMs: number, of: object): Promise<RanReply>;
  /** Ends the child; what it was computing is lost. */
  close(): Promise<void>;
}

interface Loaded {
  folder: string;
  manifest: Manifest;
  /** Of children while they loaded it again, one after the other. */
  deaths: number;
}

type Ask = ToChild extends infer M ? (M extends { call: number } ? Omit<M, 'call'> : never) : never;

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** Of verifying, loading and warming up: a graph may run for ever. */
const LOAD_TIMEOUT_MS = 600_000;
/** A backend that needs longer for a few runs is none to choose. */
const MEASURE_TIMEOUT_MS = 60_000;
/** Of runs on which the backend threw, one after the other, until it is asked whether it can compute at all. */
const MAX_THROWS = 8;
/** Deaths of children while they load a version, one after the other, until it is lost. */
const MAX_LOAD_DEATHS = 2;
const HEARTBEAT = { periodMs: 5000, limitMs: 10_000 };
const NO_LIMITS: RecycleLimits = { maxBatches: 0, maxRssBytes: 0 };

export function createChildSupervisor(deps: ChildSupervisorDeps): ChildSupervisor {
  const { clock, log, loadTimeoutMs = LOAD_TIMEOUT_MS, heartbeat = HEARTBEAT } = deps;
  const { mayRecycle, listener = {} } = deps;
  const wear = createWear(deps.recycle ?? NO_LIMITS);
  const respawns = createRespawns(clock);
  const calls = createCalls<Answer>(clock, () => current?.kill());
  const loaded = new Map<string, Loaded>();
  const closing = new AbortController();
  let rssBytes: number | null = null;
  let throws = 0;
  let current: StartedChild<BackendReport> | null = null;
  let { backend } = deps.options;
  let starting = true;
  let up: Promise<void> = Promise.resolve();

  const stopHeartbeat = clock.every(heartbeat.periodMs, () => {
    // What it computes has a limit of its own.
    if (starting || calls.size > 0) return;
    ask({ type: 'ping' }, heartbeat.limitMs).catch((error: unknown) =>
      log.warn({ err: error }, 'no sign of the child'),
    );
  });

  /** Starts a child and resolves when it is up. */
  function spawn(): Promise<BackendReport> {
    rssBytes = null;
    throws = 0;
    wear.renew();
    current = startChild({
      ...deps,
      options: { ...deps.options, backend },
      onMessage: hear,
      onGone(why) {
        const of = calls.lose(why);
        if (!closing.signal.aborted && !starting) up = respawn(why, of);
      },
    });
    return current.up;
  }

  function hear(message: Heard): void {
    if (message.type === 'computing') {
      calls.turnTo(message.call);
      return;
    }
    if (message.type === 'ran') takeNote(message);
    calls.settle(message);
  }

  async function respawn(why: string, of: object | null): Promise<void> {
    log.warn({ why }, 'child died, starting another');
    respawns.died(of);
    listener.onDeath?.();
    await bringUp();
  }

  /** What comes meanwhile waits for the next child. */
  async function renew(why: string): Promise<void> {
    log.info({ why }, 'child has served its time, starting another');
    listener.onRecycle?.();
    starting = true;
    await calls.idle();
    await endChild();
    await bringUp();
  }

  function askToLoad(folder: string, manifest: Manifest): Promise<Answer> {
    return ask({ type: 'load', folder, manifest }, loadTimeoutMs);
  }

  function askToUnload(model: string, version: number): Promise<Answer> {
    return ask({ type: 'unload', model, version }, loadTimeoutMs);
  }

  async function bringUp(): Promise<void> {
    starting = true;
    let backoffMs = FIRST_BACKOFF_MS;
    while (!closing.signal.aborted) {
      const { waitMs } = respawns;
      if (waitMs > 0) {
        log.error({ waitMs }, 'children die again and again, waiting before another is started');
        listener.onChange?.();
        await sleep(clock, waitMs, closing.signal);
        if (closing.signal.aborted) return;
      }
      try {
        await spawn();
        await loadAll();
        isNowUp();
        return;
      } catch (error) {
        respawns.died(null);
        log.error({ err: error, backoffMs }, 'child does not come up');
        await endChild();
        await sleep(clock, backoffMs, closing.signal);
        backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
      }
    }
  }

  function isNowUp(): void {
    starting = false;
    respawns.up();
    listener.onChange?.();
  }

  /** What comes to be expected or not while it loads is heeded. */
  async function loadAll(): Promise<void> {
    for (const [key, each] of loaded) {
      await loadAgain(key, each);
      if (!loaded.has(key)) await askToUnload(each.manifest.name, each.manifest.version);
    }
  }

  /** Rejects when the child died of it, or may have. */
  async function loadAgain(key: string, each: Loaded): Promise<void> {
    try {
      await askToLoad(each.folder, each.manifest);
      each.deaths = 0;
    } catch (error) {
      if (closing.signal.aborted || !(error instanceof CallFailed)) throw error;
      const isDead = error.code !== 'backend_error';
      if (error.suspect) each.deaths++;
      const isLost = error.code !== 'input_crashed_backend' || each.deaths >= MAX_LOAD_DEATHS;
      if (isLost && loaded.delete(key)) listener.onVersionLost?.(each.manifest, error);
      if (isDead) throw error;
    }
  }

  /** Before the call is settled: whoever waits for it shall find the child on its way out. */
  function takeNote(ran: RanReply): void {
    throws = 0;
    rssBytes = ran.rssBytes;
    respawns.computed();
    const why = wear.reasonAfter(ran.rssBytes);
    if (why !== null) replace(why);
  }

  function replace(why: string): void {
    if (!starting && !closing.signal.aborted && mayRecycle()) up = renew(why);
  }

  /** What throws on everything, and not on bad input alone, is not mended by going on. */
  async function suspectBackend({ model, version }: RunCall): Promise<void> {
    if (++throws % MAX_THROWS !== 0) return;
    const fault = await askToMeasure(model, version, 1, 0).then(
      () => null,
      (error: unknown) => error,
    );
    if (fault instanceof CallFailed && fault.code === 'backend_error')
      replace(`the backend throws on the example of ${model}@${version}: ${messageOf(fault)}`);
  }

  function askToMeasure(
    model: string,
    version: number,
    batchSize: number,
    budgetMs: number,
  ): Promise<Answer> {
    return ask({ type: 'measure', model, version, batchSize, budgetMs }, MEASURE_TIMEOUT_MS);
  }

  async function ask(message: Ask, timeoutMs: number, of: object | null = null): Promise<Answer> {
    const child = current;
    if (!child?.isConnected) throw new CallFailed('input_crashed_backend', 'The child is gone.', false);
    return calls.add((call) => child.send({ ...message, call } as ToChild), timeoutMs, of);
  }

  function expect(folder: string, manifest: Manifest): void {
    loaded.set(keyOf(manifest.name, manifest.version), { folder, manifest, deaths: 0 });
  }

  async function endChild(): Promise<void> {
    await current?.end();
  }

  return {
    async start() {
      const report = await spawn();
      // What was chosen stays: the versions were placed on it.
      backend = report.name;
      isNowUp();
      return report;
    },
    startAgain() {
      up = endChild().then(bringUp);
    },
    get isCrashLooping() {
      return respawns.isSpent;
    },
    get isUp() {
      return !starting && current?.isConnected === true;
    },
    get pendingCalls() {
      return calls.size;
    },
    get pid() {
      return current?.pid ?? null;
    },
    get rssBytes() {
      return rssBytes;
    },
    has: (model, version) => loaded.has(keyOf(model, version)),
    async load(folder, manifest) {
      await up;
      const { report } = expectAnswer('loaded', await askToLoad(folder, manifest));
      expect(folder, manifest);
      return report;
    },
    expect,
    async unload(model, version) {
      loaded.delete(keyOf(model, version));
      if (starting) return;
      await askToUnload(model, version).catch((error: unknown) => {
        // With the child that died went what it held; the next one does not load it.
        if (!(error instanceof CallFailed) || error.code === 'backend_error') throw error;
      });
    },
    async measure(model, version, batchSize, budgetMs) {
      await up;
      return expectAnswer('measured', await askToMeasure(model, version, batchSize, budgetMs)).speed;
    },
    async run(run, timeoutMs, of) {
      try {
        return expectAnswer('ran', await ask({ type: 'run', ...run }, timeoutMs, of));
      } catch (error) {
        if (error instanceof CallFailed && error.code === 'backend_error') void suspectBackend(run);
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

function expectAnswer<T extends Answer['type']>(type: T, answer: Answer): Extract<Answer, { type: T }> {
  if (answer.type !== type) throw new Error(`The child answered ${answer.type}. This is a bug.`);
  return answer as Extract<Answer, { type: T }>;
}

function keyOf(model: string, version: number): string {
  return `${model}@${version}`;
}
