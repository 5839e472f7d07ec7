/**
 * The upkeep role: expires jobs that are due (see shared/core/jobs/due-index.ts), deletes expired files and ended batches, and
 * checks canaries, all every `PERIOD_MS` and without a pause while much is due. It also deletes blobs without an owner every
 * `SWEEP_MS`.
 */
import type { Counter } from 'prom-client';
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { Logger } from '../../shared/base/log.js';
import type { Core } from '../../shared/core/compose.js';

export interface UpkeepDeps {
  core: Pick<Core, 'dueIndex' | 'files' | 'batchUpkeep' | 'canaries'>;
  clock: Clock;
  log: Logger;
  expired: Counter;
  onError: (kind: string, error: unknown) => void;
}

/** The period of a round. A job expires at most this long after its deadline. */
const PERIOD_MS = 500;
const SWEEP_MS = 3_600_000;
/** A round that deals with this many is followed by the next without a pause, because more are due. */
const BUSY = 100;

/** Starts the role; `close` resolves when the current round has ended. Errors go to `onError`, and the next round tries again. */
export function startUpkeep(deps: UpkeepDeps): { close(): Promise<void> } {
  const { clock, log, expired, onError } = deps;
  const { dueIndex, files, batchUpkeep, canaries } = deps.core;
  const stop = new AbortController();

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      const done = await Promise.all([
        attempt('upkeep', tend),
        attempt('files', files.forgetExpired),
        attempt('batches', batchUpkeep.tend),
        attempt('canaries', judge),
      ]);
      if (Math.max(...done) < BUSY) await sleep(clock, PERIOD_MS, stop.signal);
    }
  }

  async function tend(): Promise<number> {
    const tended = await dueIndex.tend();
    expired.inc(tended.expired);
    return tended.looked;
  }

  async function judge(): Promise<number> {
    const rolledBack = await canaries.tend();
    for (const { model, alias, version, reason } of rolledBack)
      log.warn({ model, alias, version, reason }, 'canary rolled back');
    return rolledBack.length;
  }

  /** Returns how many were dealt with; 0 after an error. */
  async function attempt(kind: string, act: () => Promise<number>): Promise<number> {
    try {
      return await act();
    } catch (error) {
      onError(kind, error);
      return 0;
    }
  }

  const stopSweeping = clock.every(SWEEP_MS, () => {
    void attempt('sweep', dueIndex.sweep);
    void attempt('sweep', files.sweep);
    void attempt('sweep', batchUpkeep.sweep);
  });
  const ended = loop();
  return {
    async close() {
      stopSweeping();
      stop.abort();
      await ended;
    },
  };
}
