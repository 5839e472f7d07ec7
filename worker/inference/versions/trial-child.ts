/**
 * Trial child: a child that serves nothing, in which a version is tried before it may cost those that serve.
 *
 *   starting -> up -> used -> ended
 */
import { constants, setPriority } from 'node:os';
import type { Clock } from '../../../shared/base/clock.js';
import { ConfigError } from '../../../shared/base/config.js';
import type { Logger } from '../../../shared/base/log.js';
import type { BackendName } from '../../backends/backend.js';
import { type StartedChild, startChild } from '../../process/child-process.js';
import { type ChildCalls, type ChildMessage, createChildCalls } from '../pool/child-calls.js';
import { childEnvironment, gpuEnvironment } from '../pool/child-environment.js';
import type { BackendReport, ChildOptions } from '../protocol/messages.js';

export interface TrialChildDeps {
  /** The entry point of the child. */
  child: URL;
  options: Omit<ChildOptions, 'backend'>;
  /** Returns the GPU of each child that serves on this backend, null for none. A trial child has the first one's. */
  gpusOf: (backend: BackendName) => readonly (string | null)[];
  clock: Clock;
  log: Logger;
}

/** `background`: the child yields the processor to those that serve. `beside`: somebody waits for it, so it has its share. */
export type TrialPriority = 'background' | 'beside';

export type TrialCalls = Pick<ChildCalls, 'load' | 'measure'>;

/** The backend does not load on this machine, whatever the version. */
export class BackendRefused extends Error {}

/**
 * Starts a child of the backend, acts with it and ends it. The signal kills it early, which rejects what it was asked.
 * @throws {BackendRefused} when the backend does not load.
 */
export async function useTrialChild<T>(
  deps: TrialChildDeps,
  backend: BackendName,
  priority: TrialPriority,
  signal: AbortSignal,
  act: (calls: TrialCalls) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const { process, calls } = startTrialChild(deps, backend);
  if (priority === 'background' && process.pid !== null) yieldProcessor(process.pid);
  const kill = () => process.kill();
  signal.addEventListener('abort', kill);
  try {
    await process.up.catch((error: unknown) => {
      throw error instanceof ConfigError ? new BackendRefused(error.message) : error;
    });
    return await act(calls);
  } finally {
    signal.removeEventListener('abort', kill);
    await process.end();
  }
}

function startTrialChild({ child, options, gpusOf, clock, log }: TrialChildDeps, backend: BackendName) {
  const gpus = gpusOf(backend);
  const calls = createChildCalls(clock, () => started);
  const started: StartedChild<BackendReport> = startChild<BackendReport, ChildMessage>({
    child,
    options: { ...options, backend },
    environment: {
      ...childEnvironment(options.librariesDir, backend, gpus.length),
      ...gpuEnvironment(gpus[0] ?? null),
    },
    clock,
    log,
    onMessage: calls.hear,
    onGone: (why) => void calls.lose(why),
  });
  return { process: started, calls };
}

function yieldProcessor(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // The child is gone already, or the platform knows no priorities.
  }
}
