/**
 * Ctrl-C, once and twice.
 *
 * Under `npm start` one Ctrl-C arrives twice: from the terminal, and passed on by npm some milliseconds later. So a
 * second signal counts only when it comes later than `SAME_SIGNAL_MS` after the first.
 */
import type { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/base/clock.js';

export const SAME_SIGNAL_MS = 500;

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
  // SIGHUP: the terminal was closed.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) source.on(name, onSignal);
}
