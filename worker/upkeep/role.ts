/**
 * Upkeep: tends the agenda (see shared/core/jobs/due-index.ts), forgets expired files and ended batches and judges canaries every
 * `PERIOD_MS`, without pause while much is due, and removes blobs without an owner every `SWEEP_MS`.
 */
import type { Counter } from 'prom-client';
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { Logger } from '../../shared/base/log.js';
import type { Batches } from '../../shared/core/batches/batches.js';
import type { Files } from '../../shared/core/files/files.js';
import type { createAgenda } from '../../shared/core/jobs/due-index.js';
import type { Canaries } from '../../shared/core/models/canaries.js';

export interface UpkeepDeps {
  agenda: ReturnType<typeof createAgenda>;
  files: Files;
  batches: Batches;
  canaries: Canaries;
  clock: Clock;
  log: Logger;
  expired: Counter;
  onError: (kind: string, error: unknown) => void;
}

/** So often is a deadline looked for: a job expires at most this long after it. */
const PERIOD_MS = 500;
const SWEEP_MS = 3_600_000;
/** As many at once are taken as a sign that more are due. */
const BUSY = 100;

export function startUpkeep(deps: UpkeepDeps): { close(): Promise<void> } {
  const { agenda, files, batches, canaries, clock, log, expired, onError } = deps;
  const stop = new AbortController();

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      const done = await Promise.all([
        attempt('upkeep', tend),
        attempt('files', files.forgetExpired),
        attempt('batches', batches.tend),
        attempt('canaries', judge),
      ]);
      if (Math.max(...done) < BUSY) await sleep(clock, PERIOD_MS, stop.signal);
    }
  }

  async function tend(): Promise<number> {
    const tended = await agenda.tend();
    expired.inc(tended.expired);
    return tended.looked;
  }

  async function judge(): Promise<number> {
    const rolledBack = await canaries.tend();
    for (const { model, alias, version, reason } of rolledBack)
      log.warn({ model, alias, version, reason }, 'canary rolled back');
    return rolledBack.length;
  }

  /** How many were dealt with; none after an error. */
  async function attempt(kind: string, act: () => Promise<number>): Promise<number> {
    try {
      return await act();
    } catch (error) {
      onError(kind, error);
      return 0;
    }
  }

  const stopSweeping = clock.every(SWEEP_MS, () => {
    void attempt('sweep', agenda.sweep);
    void attempt('sweep', files.sweep);
    void attempt('sweep', batches.sweep);
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
