/**
 * Telling a second Ctrl-C from the first.
 *
 * Under `npm start` one Ctrl-C arrives twice: the terminal sends it, and npm passes it on some milliseconds later. So a
 * second signal counts only when it comes more than `SAME_SIGNAL_MS` after the first.
 */
import type { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';

export const SAME_SIGNAL_MS = 500;

/** Calls `act.first` at the first signal to stop, and `act.again` at each further one. */
export function onStopSignals(
  source: EventEmitter,
  clock: Clock,
  act: { first(): void; again(): void },
): void {
  let firstMs: number | undefined;
  const onSignal = () => {
    if (firstMs === undefined) {
      firstMs = clock.monotonic();
      act.first();
    } else if (clock.monotonic() - firstMs > SAME_SIGNAL_MS) {
      act.again();
    }
  };
  // SIGHUP comes when the terminal is closed.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) source.on(name, onSignal);
}
