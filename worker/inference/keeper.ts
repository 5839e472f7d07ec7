/**
 * Keeper: the parent's side of one child that computes.
 *
 *   starting -> up -> (child died, or has served its time) -> starting …          closed at the end
 *
 * Promises:
 *   - a child that dies is started again, at once unless that was of no use (respawns.ts), and the versions it had are loaded again;
 *   - of the calls that a child dies with, one is suspect, that to which it had turned; the others only waited behind it;
 *   - a call that outlasts its limit, counted from when the child turned to it, costs the child;
 *   - one that stands still while it has nothing to do is found by its heartbeat: it answers a ping in time, or is replaced;
 *   - a child that has served its time (wear.ts) finishes what it has, then another takes its place.
 */
import { sleep } from '../../shared/base/clock.js';
import type { Manifest } from '../../shared/contract/model.js';
import { type ChildProcessDeps, type StartedChild, startChild } from './child-process.js';
import type { BackendReport, FromChild, LoadReport, Speed, ToChild } from './messages.js';
import { createRespawns } from './respawns.js';
import { createWear, type WearLimits } from './wear.js';

export interface KeeperDeps extends Omit<ChildProcessDeps, 'onMessage' | 'onGone'> {
  /** None where left out. */
  wear?: WearLimits | undefined;
  /** Of one version. */
  loadTimeoutMs?: number | undefined;
  /** How often a child that has nothing to do is asked for a sign, and how long it may take. */
  heartbeat?: { periodMs: number; limitMs: number } | undefined;
  /** Asked when a child has served its time; when not, it is asked again after the next batch. */
  mayRenew: () => boolean;
  /** A child is up, or is waited for because children die again and again. */
  onChange?: (() => void) | undefined;
  /** A child has died. */
  onRespawn?: (() => void) | undefined;
  /** A child has served its time. */
  onRenew?: (() => void) | undefined;
}

export type RunCall = Omit<Extract<ToChild, { type: 'run' }>, 'type' | 'call'>;
export type Ran = Extract<FromChild, { type: 'ran' }>;

export interface Keeper {
  /** Starts the first child and resolves when it is up; rejects with the reason when it is not. */
  start(): Promise<BackendReport>;
  /** As after a death: tries until it is up. */
  startAgain(): void;
  /** Its children die again and again. */
  readonly isSpent: boolean;
  /** Whether a child is there that has loaded what it shall. */
  readonly isUp: boolean;
  /** Resolves when the child that is being started is up, or the keeper closed; never rejects. */
  readonly up: Promise<void>;
  /** The child's process id, null while there is none. */
  readonly pid: number | null;
  /** What the child held after its last batch, in bytes; null before the first. */
  readonly rssBytes: number | null;
  /** Calls without an answer. */
  readonly calls: number;
  /** Loads, verifies and warms up a version; rejects with the reason when it must not serve. */
  load(folder: string, manifest: Manifest): Promise<LoadReport>;
  /** The child that is being started shall have the version, too. */
  expect(folder: string, manifest: Manifest): void;
  /** Frees what a version holds; one that is being started will not have it. */
  unload(model: string, version: number): Promise<void>;
  measure(model: string, version: number, batchSize: number, budgetMs: number): Promise<Speed | null>;
  /** `of`: the batch of which it is a part, or the whole. */
  run(run: RunCall, timeoutMs: number, of: object): Promise<Ran>;
  /** Ends the child; what it was computing is lost. */
  close(): Promise<void>;
}

/** How a call ended when it did not end with an answer. */
export class CallFailed extends Error {
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
  timeoutMs: number;
  /** The batch of which it computes. */
  of: object | null;
  cancelTimer: (() => void) | null;
}

/** What settles a call. */
type Answer = Exclude<Extract<FromChild, { call: number }>, { type: 'computing' }>;
type Ask = ToChild extends infer M ? (M extends { call: number } ? Omit<M, 'call'> : never) : never;

const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** Of verifying, loading and warming up: a graph may run for ever. */
const LOAD_TIMEOUT_MS = 600_000;
/** A backend that needs longer for a few runs is none to choose. */
const MEASURE_TIMEOUT_MS = 60_000;
const HEARTBEAT = { periodMs: 5000, limitMs: 10_000 };
const NO_LIMITS: WearLimits = { maxBatches: 0, maxRssBytes: 0 };

export function createKeeper(deps: KeeperDeps): Keeper {
  const { clock, log, loadTimeoutMs = LOAD_TIMEOUT_MS, heartbeat = HEARTBEAT } = deps;
  const { mayRenew, onChange, onRespawn, onRenew } = deps;
  const wear = createWear(deps.wear ?? NO_LIMITS);
  const respawns = createRespawns(clock);
  const calls = new Map<number, Call>();
  const loaded = new Map<string, { folder: string; manifest: Manifest }>();
  const closing = new AbortController();
  let rssBytes: number | null = null;
  let nextCall = 1;
  let current: StartedChild | null = null;
  /** The call that the child told to have turned to. */
  let computing: number | null = null;
  let timedOut: number | null = null;
  let { backend } = deps.options;
  let starting = true;
  let up: Promise<void> = Promise.resolve();
  /** Told once no call is without an answer. */
  let onIdle: (() => void) | null = null;

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
    wear.renew();
    current = startChild({
      ...deps,
      options: { ...deps.options, backend },
      onMessage: hear,
      onGone(why) {
        const of = failOutstanding(why);
        if (!closing.signal.aborted && !starting) up = respawn(why, of);
      },
    });
    return current.up;
  }

  function hear(message: Answer | Extract<FromChild, { type: 'computing' }>): void {
    if (message.type === 'computing') {
      computing = message.call;
      watch();
    } else {
      answer(message);
    }
  }

  async function respawn(why: string, of: object | null): Promise<void> {
    log.warn({ why }, 'child died, starting another');
    respawns.died(of);
    onRespawn?.();
    await bringUp();
  }

  /** What comes meanwhile waits for the next child. */
  async function renew(why: string): Promise<void> {
    log.info({ why }, 'child has served its time, starting another');
    onRenew?.();
    starting = true;
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
        onChange?.();
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
    onChange?.();
  }

  /** What comes to be expected or not while it loads is heeded. */
  async function loadAll(): Promise<void> {
    for (const [key, { folder, manifest }] of loaded) {
      await askToLoad(folder, manifest);
      if (!loaded.has(key)) await askToUnload(manifest.name, manifest.version);
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
    if (message.type === 'ran') takeNote(message);
    if (message.type === 'failed') call.reject(new CallFailed('backend_error', message.message, true));
    else call.resolve(message);
  }

  function takeNote(ran: Ran): void {
    rssBytes = ran.rssBytes;
    respawns.computed();
    const why = wear.reasonAfter(ran.rssBytes);
    if (why !== null && !starting && !closing.signal.aborted && mayRenew()) up = renew(why);
  }

  /** It died of the call that it had turned to: answers of which batch that was. */
  function failOutstanding(why: string): object | null {
    const hung = timedOut;
    timedOut = null;
    const suspect = turnedTo();
    const outstanding = [...calls];
    const of = suspect === undefined ? null : (calls.get(suspect)?.of ?? null);
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
    return of;
  }

  function ask(message: Ask, timeoutMs: number, of: object | null = null): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const child = current;
      if (!child?.isConnected)
        return reject(new CallFailed('input_crashed_backend', 'The child is gone.', false));
      const number = nextCall++;
      calls.set(number, { resolve, reject, timeoutMs, of, cancelTimer: null });
      child.send({ ...message, call: number } as ToChild);
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
    if (!call || call.cancelTimer) return;
    call.cancelTimer = clock.after(call.timeoutMs, () => {
      timedOut = turn ?? null;
      current?.kill();
    });
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
    get isSpent() {
      return respawns.isSpent;
    },
    get isUp() {
      return !starting && current?.isConnected === true;
    },
    get up() {
      return up;
    },
    get calls() {
      return calls.size;
    },
    get pid() {
      return current?.pid ?? null;
    },
    get rssBytes() {
      return rssBytes;
    },
    async load(folder, manifest) {
      await up;
      const { report } = expectAnswer('loaded', await askToLoad(folder, manifest));
      loaded.set(keyOf(manifest.name, manifest.version), { folder, manifest });
      return report;
    },
    expect(folder, manifest) {
      loaded.set(keyOf(manifest.name, manifest.version), { folder, manifest });
    },
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
      const message: Ask = { type: 'measure', model, version, batchSize, budgetMs };
      return expectAnswer('measured', await ask(message, MEASURE_TIMEOUT_MS)).speed;
    },
    run: async (run, timeoutMs, of) => expectAnswer('ran', await ask({ type: 'run', ...run }, timeoutMs, of)),
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
