/**
 * Held requests: a caller that waits for a job's end costs an entry in a map, and no polling.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import { createSlots } from './slots.js';

export interface HeldRequest {
  /** Resolves to true when the job may have ended, to false when time is up, the wait is given up or the process drains. */
  woken(): Promise<boolean>;
  /** Ends the wait of a caller that is gone. */
  giveUp(): void;
  /** Gives back what the wait holds. The holder must call it in the end. */
  release(): void;
}

export interface HeldRequests {
  /**
   * Watches the job `id` from now on, for `timeoutMs`.
   *
   * @throws {SluiceError} `too_many_waits` when the tenant holds its share
   */
  hold(tenant: string, id: string, timeoutMs: number): HeldRequest;
  /** Lets every held request go. */
  close(): void;
  /** How many requests are held. */
  readonly count: number;
}

export interface HeldRequestsDeps {
  notices: JobNotices;
  clock: Clock;
  maxPerTenant: number;
}

/** Returns the held requests of this process; a tenant holds at most `maxPerTenant` of them. */
export function createHeldRequests({ notices, clock, maxPerTenant }: HeldRequestsDeps): HeldRequests {
  const slots = createSlots(maxPerTenant, 'too_many_waits');
  const giveUps = new Set<() => void>();

  function hold(tenant: string, id: string, timeoutMs: number): HeldRequest {
    const leave = slots.take(tenant);
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
    get count() {
      return slots.taken;
    },
  };
}
