/**
 * Backend trial: how fast a version is on one backend, found in a child of its own.
 *
 *   child up -> version loaded, unchecked -> one run -> as many as the plan says -> child ended
 *
 * Promises:
 *   - A trial disturbs nobody: its child serves nothing and yields the processor to those that do.
 *   - It takes no longer than its limit, whatever the version does. Then its child is killed.
 */
import { constants, setPriority } from 'node:os';
import type { Clock } from '../../../shared/base/clock.js';
import { ConfigError } from '../../../shared/base/config.js';
import { messageOf } from '../../../shared/base/errors.js';
import type { Logger } from '../../../shared/base/log.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { BackendName } from '../../backends/backend.js';
import { type StartedChild, startChild } from '../../process/child-process.js';
import { CallFailed } from '../../process/pending-calls.js';
import { type ChildMessage, createChildCalls } from '../pool/child-calls.js';
import { childEnvironment, gpuEnvironment } from '../pool/child-environment.js';
import type { BackendReport, ChildOptions, Speed } from '../protocol/messages.js';

export interface TrialDeps {
  /** The entry point of the child. */
  child: URL;
  options: Omit<ChildOptions, 'backend'>;
  /** Returns the GPU of each child that serves on this backend, null for none. A trial has the first one's. */
  gpusOf: (backend: BackendName) => readonly (string | null)[];
  clock: Clock;
  log: Logger;
}

export interface Trial {
  backend: BackendName;
  folder: string;
  manifest: Manifest;
  limitMs: number;
  /** Returns the batch sizes to time, by how long the first run took; throws the reason to time none. */
  sizesFor(firstRunMs: number): readonly number[];
  /** Ends the trial early. */
  signal: AbortSignal;
}

/** A trial ended without figures. */
export class NoFigures extends Error {
  constructor(
    message: string,
    /** False when another trial may end otherwise, because the child died of something else. */
    readonly isFinal: boolean,
  ) {
    super(message);
  }
}

/** The backend does not load on this machine, whatever the version. */
export class BackendRefused extends NoFigures {}

/** How long one batch size is timed. A single run may be the unlucky one. */
const TIMING = { budgetMs: 100, leastRuns: 3 };
const FIRST_RUN = { batchSize: 1, budgetMs: 0, leastRuns: 1 };

/**
 * Resolves with the speed at each size of the plan, summed over the children that would serve.
 * @throws {NoFigures} when the backend refuses the version or takes too long, and when the version has no example.
 * @throws {BackendRefused} when the backend does not load.
 */
export async function tryBackend(deps: TrialDeps, trial: Trial): Promise<Speed[]> {
  const { clock } = deps;
  const { limitMs, signal } = trial;
  let isLate = false;
  const child = startTrialChild(deps, trial);
  const kill = () => child.process.kill();
  signal.addEventListener('abort', kill);
  const cancel = clock.after(limitMs, () => {
    isLate = true;
    kill();
  });
  try {
    signal.throwIfAborted();
    await child.process.up.catch((error: unknown) => {
      throw error instanceof ConfigError ? new BackendRefused(error.message, true) : error;
    });
    return await timeSizes(child.calls, trial, deps.gpusOf(trial.backend).length);
  } catch (error) {
    if (isLate) throw new NoFigures(`not timed: no figures after ${(limitMs / 1000).toFixed(1)} s`, true);
    throw error instanceof NoFigures ? error : new NoFigures(messageOf(error), !isDeath(error));
  } finally {
    cancel();
    signal.removeEventListener('abort', kill);
    await child.process.end();
  }
}

function startTrialChild({ child, options, gpusOf, clock, log }: TrialDeps, { backend }: Trial) {
  const gpus = gpusOf(backend);
  const calls = createChildCalls(clock, () => started);
  const started: StartedChild<BackendReport> = startChild<BackendReport, ChildMessage>({
    child,
    options: { ...options, backend },
    environment: {
      ...childEnvironment(options.cacheDir, backend, gpus.length),
      ...gpuEnvironment(gpus[0] ?? null),
    },
    clock,
    log,
    onMessage: calls.hear,
    onGone: (why) => void calls.lose(why),
  });
  if (started.pid !== null) yieldProcessor(started.pid);
  return { process: started, calls };
}

function yieldProcessor(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // The child is gone already, or the platform knows no priorities.
  }
}

type Calls = Pick<ReturnType<typeof createChildCalls>, 'load' | 'measure'>;

async function timeSizes(
  calls: Calls,
  { folder, manifest, sizesFor }: Trial,
  childCount: number,
): Promise<Speed[]> {
  const { name, version } = manifest;
  await calls.load(folder, manifest, false);
  const first = await calls.measure(name, version, FIRST_RUN);
  if (!first) throw new NoFigures('not timed: no golden instance shows the size of its input', true);
  const speeds: Speed[] = [];
  for (const batchSize of sizesFor(1000 / first.rowsPerSecond)) {
    const speed = await calls.measure(name, version, { ...TIMING, batchSize });
    if (speed) speeds.push({ batchSize, rowsPerSecond: speed.rowsPerSecond * childCount });
  }
  return speeds;
}

function isDeath(error: unknown): boolean {
  return error instanceof CallFailed && error.code !== 'backend_error';
}
