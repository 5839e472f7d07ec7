/**
 * The upkeep role: what must happen without a request.
 *
 *   every `PERIOD_MS`   expires jobs, repairs their queues and deletes them after their retention (core/jobs/due-index.ts), deletes
 *                       expired files, continues or deletes batches, purges versions, judges canaries, and looks how many
 *                       workers are needed; without a pause while much is due
 *   at the start, and every `SWEEP_MS`    deletes blobs that no record names
 *
 * Any number of workers may have this role at once.
 */
import type { Counter } from 'prom-client';
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { Logger } from '../../shared/base/log.js';
import type { Core } from '../../shared/core/compose.js';

export interface UpkeepRoleDeps {
  core: Pick<
    Core,
    'dueIndex' | 'files' | 'batchUpkeep' | 'canaries' | 'versionBlobs' | 'versionPurge' | 'autoscale'
  >;
  clock: Clock;
  log: Logger;
  expired: Counter;
  onError: (kind: string, error: unknown) => void;
}

/** The period of a round. A job expires at most this long after its deadline. */
const PERIOD_MS = 500;
/** The period of the sweeps, which list every blob and are not urgent. */
const SWEEP_MS = 3_600_000;
/** A round that deals with this many is followed by the next without a pause, because more are due. */
const BUSY = 100;

/** Starts the role; `close` resolves when the current round has ended. Errors go to `onError`, and the next round tries again. */
export function startUpkeep(deps: UpkeepRoleDeps): { close(): Promise<void> } {
  const { clock, log, expired, onError } = deps;
  const { dueIndex, files, batchUpkeep, canaries, versionBlobs, versionPurge, autoscale } = deps.core;
  const stop = new AbortController();

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      const done = await Promise.all([
        attempt('upkeep', tend),
        attempt('files', files.forgetExpired),
        attempt('batches', batchUpkeep.tend),
        attempt('canaries', judge),
        attempt('versions', versionPurge.tend),
        attempt('scaling', look),
      ]);
      if (Math.max(...done) < BUSY) await sleep(clock, PERIOD_MS, stop.signal);
    }
  }

  /** Returns the number of records that were looked at. */
  async function tend(): Promise<number> {
    const tended = await dueIndex.tend();
    expired.inc(tended.expired);
    return tended.looked;
  }

  /** Returns the number of canaries that were rolled back. */
  async function judge(): Promise<number> {
    const rolledBack = await canaries.tend();
    for (const { model, alias, version, reason } of rolledBack)
      log.warn({ model, alias, version, reason }, 'canary rolled back');
    return rolledBack.length;
  }

  /** Returns 0: rates change slowly. */
  async function look(): Promise<number> {
    await autoscale.tend();
    return 0;
  }

  /** Returns what `act` returns; 0 when it fails, so that one duty does not stop the others. */
  async function attempt(kind: string, act: () => Promise<number>): Promise<number> {
    try {
      return await act();
    } catch (error) {
      onError(kind, error);
      return 0;
    }
  }

  async function sweep(): Promise<void> {
    for (const each of [dueIndex.sweep, files.sweep, batchUpkeep.sweep, versionBlobs.sweep])
      if (!stop.signal.aborted) await attempt('sweep', each);
  }

  const stopSweeping = clock.every(SWEEP_MS, () => void sweep());
  // A worker that never lives for an hour would else never sweep.
  void sweep();
  const ended = loop();
  return {
    async close() {
      stopSweeping();
      stop.abort();
      await ended;
    },
  };
}
