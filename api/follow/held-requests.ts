/**
 * Held requests: a caller that waits for a job's end costs an entry in a map, and no polling.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import { createPlaces } from './slots.js';

export interface Wait {
  /** Resolves to true when the job may have ended, to false when time is up, the wait is given up or the process drains. */
  woken(): Promise<boolean>;
  /** Ends the wait of a caller that is gone. */
  giveUp(): void;
  /** Gives back what the wait holds. The holder must call it in the end. */
  release(): void;
}

export interface Waits {
  /**
   * Watches the job `id` from now on, for `timeoutMs`.
   *
   * @throws {SluiceError} `too_many_waits` when the tenant holds its share
   */
  hold(tenant: string, id: string, timeoutMs: number): Wait;
  /** Lets every held request go. */
  close(): void;
  readonly held: number;
}

export interface WaitsDeps {
  notices: JobNotices;
  clock: Clock;
  maxPerTenant: number;
}

export function createWaits({ notices, clock, maxPerTenant }: WaitsDeps): Waits {
  const places = createPlaces(maxPerTenant, 'too_many_waits');
  const giveUps = new Set<() => void>();

  function hold(tenant: string, id: string, timeoutMs: number): Wait {
    const leave = places.take(tenant);
    let pending = false;
    let over = false;
    let wake: ((mayHaveEnded: boolean) => void) | null = null;
    const unwatch = notices.onEnd(id, () => {
      pending = true;
      wake?.(true);
    });
    const giveUp = () => {
      over = true;
      wake?.(false);
    };
    giveUps.add(giveUp);
    const cancelTimer = clock.after(timeoutMs, giveUp);

    return {
      woken() {
        if (pending) {
          pending = false;
          return Promise.resolve(true);
        }
        if (over) return Promise.resolve(false);
        return new Promise((resolve) => {
          wake = (mayHaveEnded) => {
            wake = null;
            pending = false;
            resolve(mayHaveEnded);
          };
        });
      },
      giveUp,
      release() {
        cancelTimer();
        unwatch();
        giveUps.delete(giveUp);
        leave();
      },
    };
  }

  return {
    hold,
    close() {
      for (const giveUp of giveUps) giveUp();
    },
    get held() {
      return places.taken;
    },
  };
}
