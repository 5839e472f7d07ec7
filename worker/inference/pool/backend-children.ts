/**
 * The children of one backend, each kept up by its supervisor (child-supervisor.ts).
 *
 * Promises:
 *   - Every child has every version; when one child refuses a version, none keeps it.
 *   - A call goes to the child with the fewest pending calls. It waits while no child is up, unless all of them die again
 *     and again: then it is refused, because another worker may compute it.
 *   - A call whose child died of something else is made again.
 *   - A version is loaded once more when the child died of it, because somebody else may have killed that child.
 *   - Children are recycled one at a time.
 */
import { messageOf } from '../../../shared/base/errors.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { BackendName } from '../../backends/backend.js';
import { CallFailed } from '../../process/pending-calls.js';
import type { BackendReport, LoadReport, Measurement, Speed } from '../protocol/messages.js';
import type { RanReply, RunCall } from './child-calls.js';
import { gpuEnvironment } from './child-environment.js';
import { type ChildSupervisor, type ChildSupervisorDeps, createChildSupervisor } from './child-supervisor.js';
import { NotLoaded, StandsStill } from './run-elsewhere.js';

export interface BackendChildrenDeps extends Omit<ChildSupervisorDeps, 'mayRecycle'> {
  /** Returns the GPU of each child of a backend, null for none; where left out there is one child without a GPU. */
  gpusOf?: ((backend: BackendName) => readonly (string | null)[]) | undefined;
}

/** A process that computes. */
export interface ChildState {
  /** `cpu`, `gpu:0`. */
  device: string;
  /** The process id; null while there is no process. */
  pid: number | null;
  /** The memory that it held after its last batch, in bytes; null before the first. */
  rssBytes: number | null;
}

export interface BackendChildren {
  readonly backend: BackendReport;
  /** Returns one state for each child. */
  states(): ChildState[];
  /** Returns which children die again and again; null when none does. */
  fault(): string | null;
  /** Returns whether nothing computes here, nor will soon; calls are then refused with `StandsStill`. */
  standsStill(): boolean;
  /**
   * Loads and verifies a version in each child, and checks and warms it up unless another has `found` its isolated signatures.
   * Rejects with the reason when it must not serve.
   */
  load(folder: string, manifest: Manifest, found?: readonly string[]): Promise<LoadReport>;
  /** Frees what the version holds in each child. */
  unload(model: string, version: number): Promise<void>;
  /**
   * Times the version's example in all children at once; runs wait meanwhile. Resolves with the sum of their speeds, or null
   * where the version has no example.
   */
  measure(manifest: Manifest, measurement: Measurement): Promise<Speed | null>;
  /**
   * Runs instances on the freest child that has the version.
   * @param batch identifies the batch of which they are a part, or the whole.
   * @throws {RunElsewhere} when this worker cannot compute the version, {CallFailed} when the child failed at these instances.
   */
  run(call: RunCall, timeoutMs: number, batch: object): Promise<RanReply>;
  /** Ends the children; what they were computing is lost. */
  close(): Promise<void>;
}

/** Resolves once the children have been started and one at least is up; rejects when no configured backend loads. */
export async function startBackendChildren({
  gpusOf = () => [null],
  ...deps
}: BackendChildrenDeps): Promise<BackendChildren> {
  const { options, environment, log, listener } = deps;
  const supervisors: ChildSupervisor[] = [];
  /** Wakes the calls that wait for a child. */
  const waiting = new Set<() => void>();
  let closed = false;

  // The first child tells which backend `auto` means.
  const [firstGpu = null] = gpusOf(options.backend === 'auto' ? 'cuda' : options.backend);
  const first = supervise(options.backend, firstGpu);
  const backend: BackendReport = await first.start().catch(async (error: unknown) => {
    await first.close();
    throw error;
  });
  const gpus = gpusOf(backend.name);
  await Promise.all(
    gpus.slice(1).map(async (gpu) => {
      const supervisor = supervise(backend.name, gpu);
      await supervisor.start().catch((error: unknown) => {
        log.error({ err: messageOf(error), gpu }, 'child does not come up');
        supervisor.startAgain();
      });
    }),
  );

  function supervise(name: typeof options.backend, gpu: string | null): ChildSupervisor {
    const supervisor = createChildSupervisor({
      ...deps,
      options: { ...options, backend: name },
      environment: { ...environment, ...gpuEnvironment(gpu) },
      mayRecycle: () => supervisors.every(({ isUp }) => isUp),
      listener: { ...listener, onChange: changed },
    });
    supervisors.push(supervisor);
    return supervisor;
  }

  function changed(): void {
    for (const wake of waiting) wake();
    waiting.clear();
    listener?.onChange?.();
  }

  function standsStill(): boolean {
    return supervisors.every(({ isUp, isCrashLooping }) => !isUp && isCrashLooping);
  }

  function devices(): string[] {
    return gpus.map((gpu) => (gpu === null ? backend.device : `gpu:${gpu}`));
  }

  /** The supervisor with the fewest pending calls, of those that are up and eligible. */
  function freest(isEligible: (supervisor: ChildSupervisor) => boolean = () => true) {
    const up = supervisors.filter((each) => each.isUp && isEligible(each));
    return up.reduce<ChildSupervisor | undefined>(
      (least, each) => (least && least.pendingCalls <= each.pendingCalls ? least : each),
      undefined,
    );
  }

  /** Rejects when the children are closed. While no child comes up it waits, or rejects with `StandsStill`. */
  async function someUp(isPatient: boolean): Promise<void> {
    while (!closed && !freest()) {
      if (!isPatient && standsStill()) {
        listener?.onChange?.();
        throw new StandsStill();
      }
      await nextChange();
    }
    if (closed) throw new Error('The children of this backend are closed.');
  }

  function nextChange(): Promise<void> {
    return new Promise((wake) => void waiting.add(wake));
  }

  /** Acts on the chosen child in the turn of its choice, so that the next call sees it busier. */
  async function onFreest<T>(
    model: string,
    version: number,
    act: (supervisor: ChildSupervisor) => Promise<T>,
  ): Promise<T> {
    for (;;) {
      await someUp(false);
      const supervisor = freest((each) => each.has(model, version));
      if (supervisor) return act(supervisor);
      if (!supervisors.some((each) => each.has(model, version))) throw new NotLoaded(model, version);
      await nextChange();
    }
  }

  /** Acts again when the child died of something else. */
  async function persist<T>(act: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (closed || !(error instanceof CallFailed) || error.suspect) throw error;
      }
    }
  }

  /** Acts once more when the child died of it, because somebody else may have killed that child. */
  async function twice<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (closed || !(error instanceof CallFailed) || error.code !== 'input_crashed_backend') throw error;
      return act();
    }
  }

  async function loadIn(
    supervisor: ChildSupervisor,
    folder: string,
    manifest: Manifest,
    found: readonly string[] | undefined,
  ): Promise<void> {
    if (!supervisor.isUp) return supervisor.expect(folder, manifest);
    await supervisor.load(folder, manifest, found).catch((error: unknown) => {
      if (!(error instanceof CallFailed) || error.suspect) throw error;
      // The child died of something else; the next one loads this version too.
      supervisor.expect(folder, manifest);
    });
  }

  async function unload(model: string, version: number): Promise<void> {
    await Promise.all(supervisors.map((each) => each.unload(model, version)));
  }

  return {
    backend,
    states: () =>
      devices().map((device, i) => {
        const { pid = null, rssBytes = null } = supervisors[i] ?? {};
        return { device, pid, rssBytes };
      }),
    fault() {
      const looping = devices().filter((_, i) => supervisors[i]?.isCrashLooping);
      if (looping.length === 0) return null;
      return `What computes with ${backend.name} dies again and again (${looping.join(', ')}).`;
    },
    standsStill,
    async load(folder, manifest, found) {
      // One child loads it first, so that a version which kills its child costs one child.
      const [one, report] = await twice(() =>
        persist(async () => {
          await someUp(true);
          const chosen = freest() ?? first;
          return [chosen, await chosen.load(folder, manifest, found)] as const;
        }),
      );
      const others = supervisors.filter((each) => each !== one);
      const loads = await Promise.allSettled(
        others.map((each) => twice(() => loadIn(each, folder, manifest, found))),
      );
      const failure = loads.find((load) => load.status === 'rejected');
      if (!failure) return report;
      await unload(manifest.name, manifest.version);
      throw failure.reason;
    },
    unload,
    async measure({ name, version }, measurement) {
      const speeds = await persist(async () => {
        await someUp(true);
        const up = supervisors.filter(({ isUp }) => isUp);
        return Promise.all(up.map((each) => each.measure(name, version, measurement)));
      });
      return speeds.reduce(
        (sum, speed) =>
          sum &&
          speed && { batchSize: sum.batchSize, rowsPerSecond: sum.rowsPerSecond + speed.rowsPerSecond },
      );
    },
    run: (call, timeoutMs, batch) =>
      persist(() => onFreest(call.model, call.version, (each) => each.run(call, timeoutMs, batch))),
    async close() {
      closed = true;
      changed();
      await Promise.all(supervisors.map((each) => each.close()));
    },
  };
}
