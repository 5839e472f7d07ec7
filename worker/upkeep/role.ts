/**
 * Upkeep: tends the agenda (see shared/core/agenda.ts) every `PERIOD_MS`, without pause while much is due, and removes
 * blobs without an owner every `SWEEP_MS`.
 */
import type { Counter } from 'prom-client';
import { type Clock, sleep } from '../../shared/base/clock.js';
import type { createAgenda } from '../../shared/core/agenda.js';

export interface UpkeepDeps {
  agenda: ReturnType<typeof createAgenda>;
  clock: Clock;
  expired: Counter;
  onError: (kind: string, error: unknown) => void;
}

/** So often is a deadline looked for: a job expires at most this long after it. */
const PERIOD_MS = 500;
const SWEEP_MS = 3_600_000;
/** As many at once are taken as a sign that more are due. */
const BUSY = 100;

export function startUpkeep({ agenda, clock, expired, onError }: UpkeepDeps): { close(): Promise<void> } {
  const stop = new AbortController();

  async function loop(): Promise<void> {
    while (!stop.signal.aborted) {
      const busy = await agenda.tend().then(
        (tended) => {
          expired.inc(tended.expired);
          return tended.looked >= BUSY;
        },
        (error) => {
          onError('upkeep', error);
          return false;
        },
      );
      if (!busy) await sleep(clock, PERIOD_MS, stop.signal);
    }
  }

  const stopSweeping = clock.every(SWEEP_MS, () => {
    agenda.sweep().catch((error) => onError('sweep', error));
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
