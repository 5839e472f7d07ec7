/**
 * Executor: runs batches on the children of one backend, each kept by a keeper (child-supervisor.ts).
 *
 * The parent keeps BullMQ's locks and never touches a tensor, so a native crash costs a child, not a lock. Promises:
 *   - every child has every version; a batch goes to the one that has the least to do, and waits while there is none, unless
 *     all of them die again and again: then it is refused, since somebody else may compute it;
 *   - the batch that a child died of runs again by halves, until the instance at fault is alone: that one fails with
 *     `input_crashed_backend`, after at most ceil(log2 size) + 1 crashes; the others get their results;
 *   - a batch that waited behind it runs again whole;
 *   - children that have served their time are replaced one at a time; nothing is run again;
 *   - a batch that the backend throws on is halved in the same way, without a crash (`backend_error`);
 *   - a batch that outlasts the longest limit in it costs the child too; then each instance runs alone under its own limit,
 *     and the others lose nothing but the wait (`timeout`);
 *   - a batch for which the memory does not suffice is run by halves, too, and its size is told, so that the next are smaller,
 *     unless it is one instance that does not fit by itself;
 *   - loading and timing a version are tried again when the child died of something else, loading once more when it died of it.
 * An instance that was alone from the start is tried twice: its child may have been killed by somebody else.
 */

import { messageOf } from '../../../shared/base/errors.js';
import type { ErrorCode } from '../../../shared/contract/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { Instance } from '../../../shared/contract/tensors/tensor.js';
import type { BackendName } from '../../backends/backend.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { BackendReport, InstanceResult, LoadReport, Speed } from '../protocol/messages.js';
import { createKeeper, type Keeper, type KeeperDeps } from './child-supervisor.js';

export interface ExecutorDeps extends Omit<KeeperDeps, 'mayRenew' | 'onChange'> {
  /** For each child of a backend the GPU that it is given, null for none; one child without a GPU where left out. */
  gpusOf?: ((backend: BackendName) => readonly (string | null)[]) | undefined;
  /** It may stand still now, or no longer. */
  onChange?: (() => void) | undefined;
}

/** What is to run had better run on another worker. */
export class RunElsewhere extends Error {}

/** None of the children comes up. */
export class StandsStill extends RunElsewhere {
  constructor() {
    super('What computes here dies again and again.');
  }
}

/** No child has the version, nor will have. */
export class NotLoaded extends RunElsewhere {
  constructor(model: string, version: number) {
    super(`${model}@${version} is not loaded here.`);
  }
}

/** A process that computes. */
export interface Child {
  /** `cpu`, `gpu:0`. */
  device: string;
  /** Null while there is none. */
  pid: number | null;
  /** What it held after its last batch, in bytes; null before the first. */
  rssBytes: number | null;
}

export interface Run {
  model: string;
  version: number;
  /** Of equal shapes, at most the version's maxBatchSize. */
  instances: Instance[];
  /** Of each instance: how long it may compute. The longest holds for all that compute together. */
  timeoutsMs: number[];
}

export interface RunResult {
  results: InstanceResult[];
  computeMs: number;
  /** The least number of instances for which the memory did not suffice, though it does for each; null when it did. */
  outOfMemoryAt: number | null;
}

/** As TensorFlow, WebAssembly and V8 say it. */
const OUT_OF_MEMORY = /\bOOM\b|out of memory|memory allocation|allocation failed|Memory\.grow/i;

export type Executor = Awaited<ReturnType<typeof startExecutor>>;

/** Resolves once its children are up, one at least; rejects when no configured backend loads. */
export async function startExecutor({ gpusOf = () => [null], onChange, ...deps }: ExecutorDeps) {
  const { options, environment, log } = deps;
  const keepers: Keeper[] = [];
  /** Those who wait for a child. */
  const waiting = new Set<() => void>();
  let closed = false;

  // Which backend `auto` means is known when its first child is up.
  const [firstGpu = null] = gpusOf(options.backend === 'auto' ? 'cuda' : options.backend);
  const first = keep(options.backend, firstGpu);
  const backend: BackendReport = await first.start().catch(async (error: unknown) => {
    await first.close();
    throw error;
  });
  const gpus = gpusOf(backend.name);
  await Promise.all(
    gpus.slice(1).map(async (gpu) => {
      const keeper = keep(backend.name, gpu);
      await keeper.start().catch((error: unknown) => {
        log.error({ err: messageOf(error), gpu }, 'child does not come up');
        keeper.startAgain();
      });
    }),
  );

  function keep(name: typeof options.backend, gpu: string | null): Keeper {
    const keeper = createKeeper({
      ...deps,
      options: { ...options, backend: name },
      environment: { ...environment, ...(gpu !== null && givenGpu(gpu)) },
      mayRenew: () => keepers.every(({ isUp }) => isUp),
      onChange: changed,
    });
    keepers.push(keeper);
    return keeper;
  }

  function changed(): void {
    for (const wake of waiting) wake();
    waiting.clear();
    onChange?.();
  }

  function standsStill(): boolean {
    return keepers.every(({ isUp, isSpent }) => !isUp && isSpent);
  }

  /** Of each child. */
  function devices(): string[] {
    return gpus.map((gpu) => (gpu === null ? backend.device : `gpu:${gpu}`));
  }

  /** With the least to do of those that are up, and meant. */
  function freest(isMeant: (keeper: Keeper) => boolean = () => true): Keeper | undefined {
    const up = keepers.filter((each) => each.isUp && isMeant(each));
    return up.reduce<Keeper | undefined>(
      (least, each) => (least && least.calls <= each.calls ? least : each),
      undefined,
    );
  }

  /** Rejects when the executor is closed. Where no child comes up it waits, or rejects with `StandsStill`. */
  async function someUp(isPatient: boolean): Promise<void> {
    while (!closed && !freest()) {
      if (!isPatient && standsStill()) {
        onChange?.();
        throw new StandsStill();
      }
      await nextChange();
    }
    if (closed) throw new Error('The executor is closed.');
  }

  function nextChange(): Promise<void> {
    return new Promise((wake) => void waiting.add(wake));
  }

  /** Acts with the freest child that has the version; in the same turn, so that the next one sees it busier. */
  async function withFreest<T>({ model, version }: Run, act: (keeper: Keeper) => Promise<T>): Promise<T> {
    for (;;) {
      await someUp(false);
      const keeper = freest((each) => each.has(model, version));
      if (keeper) return act(keeper);
      if (!keepers.some((each) => each.has(model, version))) throw new NotLoaded(model, version);
      await nextChange();
    }
  }

  /** Again when the child died of something else. */
  async function persist<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (closed || !(error instanceof CallFailed) || error.suspect) throw error;
      }
    }
  }

  /** Once more where the child died of it: it may have been killed by somebody else. */
  async function twice<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (closed || !(error instanceof CallFailed) || error.code !== 'input_crashed_backend') throw error;
      return act();
    }
  }

  async function loadToo(keeper: Keeper, folder: string, manifest: Manifest): Promise<void> {
    if (!keeper.isUp) return keeper.expect(folder, manifest);
    await keeper.load(folder, manifest).catch((error: unknown) => {
      if (!(error instanceof CallFailed) || error.suspect) throw error;
      // Its child died of something else.
      keeper.expect(folder, manifest);
    });
  }

  async function unload(model: string, version: number): Promise<void> {
    await Promise.all(keepers.map((keeper) => keeper.unload(model, version)));
  }

  /** Of what is tried again the backend is given no more than there is: what was added may be what did not fit. */
  async function attempt(run: Run, exact: boolean, batch: Run): Promise<RunResult> {
    const { timeoutsMs, ...call } = run;
    const { results, computeMs } = await persist(() =>
      withFreest(run, (keeper) => keeper.run({ ...call, exact }, Math.max(...timeoutsMs), batch)),
    );
    return { results, computeMs, outOfMemoryAt: null };
  }

  /** `batch`: of which it is a part, or the whole. */
  async function runAll(run: Run, suspected: boolean, batch: Run): Promise<RunResult> {
    try {
      return await attempt(run, suspected, batch);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      const size = run.instances.length;
      if (size > 1) {
        const whole = await runParts(run, error.code === 'timeout' ? 1 : Math.ceil(size / 2), batch);
        if (OUT_OF_MEMORY.test(error.message) && !whole.results.some(isTooLarge))
          whole.outOfMemoryAt ??= size;
        return whole;
      }
      if (!suspected && error.code !== 'backend_error') return runAll(run, true, batch);
      return { results: [failure(error.code, error.message)], computeMs: 0, outOfMemoryAt: null };
    }
  }

  /** Runs a batch at fault again, in parts of `size` instances, one after the other. */
  async function runParts(run: Run, size: number, batch: Run): Promise<RunResult> {
    const whole: RunResult = { results: [], computeMs: 0, outOfMemoryAt: null };
    for (let from = 0; from < run.instances.length; from += size) {
      const part = await runAll(
        {
          ...run,
          instances: run.instances.slice(from, from + size),
          timeoutsMs: run.timeoutsMs.slice(from, from + size),
        },
        true,
        batch,
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
    backend,
    get children(): Child[] {
      return devices().map((device, i) => {
        const { pid = null, rssBytes = null } = keepers[i] ?? {};
        return { device, pid, rssBytes };
      });
    },
    /** Which children die again and again; null when none does. */
    get fault(): string | null {
      const spent = devices().filter((_, i) => keepers[i]?.isSpent);
      if (spent.length === 0) return null;
      return `What computes with ${backend.name} dies again and again (${spent.join(', ')}).`;
    },
    /** Loads, verifies and warms up a version in each child; rejects with the reason when it must not serve. */
    async load(folder: string, manifest: Manifest): Promise<LoadReport> {
      // One that brings down what loads it costs one child.
      const loadOne = async () => {
        await someUp(true);
        const one = freest() ?? first;
        return [one, await one.load(folder, manifest)] as const;
      };
      const [one, report] = await twice(() => persist(loadOne));
      const others = keepers.filter((each) => each !== one);
      const loads = await Promise.allSettled(
        others.map((each) => twice(() => loadToo(each, folder, manifest))),
      );
      const failure = loads.find((load) => load.status === 'rejected');
      if (!failure) return report;
      await unload(manifest.name, manifest.version);
      throw failure.reason;
    },
    /** Frees what a version holds. */
    unload,
    /**
     * Times the version's example for about `budgetMs` in all children at once; null where it has none. Runs wait
     * meanwhile.
     */
    async measure(
      model: string,
      version: number,
      batchSize: number,
      budgetMs: number,
    ): Promise<Speed | null> {
      const speeds = await persist(async () => {
        await someUp(true);
        const up = keepers.filter(({ isUp }) => isUp);
        return Promise.all(up.map((keeper) => keeper.measure(model, version, batchSize, budgetMs)));
      });
      return speeds.reduce(
        (sum, speed) => sum && speed && { batchSize, rowsPerSecond: sum.rowsPerSecond + speed.rowsPerSecond },
      );
    },
    get standsStill(): boolean {
      return standsStill();
    },
    /** One result for each instance. Rejects only when the executor is closed, or with `RunElsewhere`. */
    run: (run: Run): Promise<RunResult> => runAll(run, false, run),
    /** Ends the children; what they were computing is lost. */
    async close(): Promise<void> {
      closed = true;
      changed();
      await Promise.all(keepers.map((keeper) => keeper.close()));
    },
  };
}

/** Numbered by PCI bus, as the driver and its tools number them; CUDA by itself would take the fastest first. */
function givenGpu(gpu: string): Record<string, string> {
  return { CUDA_VISIBLE_DEVICES: gpu, CUDA_DEVICE_ORDER: 'PCI_BUS_ID' };
}

/** By itself. */
function isTooLarge(result: InstanceResult): boolean {
  return !result.ok && OUT_OF_MEMORY.test(result.message);
}

function failure(code: ErrorCode, message: string): InstanceResult {
  return { ok: false, code, message };
}
