/**
 * Held requests: a caller that waits for a job's end costs an entry in a map, and no polling.
 */
import type { Clock } from '../../shared/base/clock.js';
import type { JobNotices } from '../../shared/core/jobs/job-notices.js';
import type { ToldEnd } from '../../shared/core/jobs/told-ends.js';
import { createSlots } from './slots.js';

export interface Waking {
  /** False when time is up, the wait is given up or the process drains. */
  mayHaveEnded: boolean;
  /** How the job has ended, where that was told; else its record says it. */
  told: ToldEnd | null;
}

export interface HeldRequest {
  woken(): Promise<Waking>;
  /** Ends the wait of a caller that is gone. */
  giveUp(): void;
  /** Gives back what the wait holds. The holder must call it in the end. */
  release(): void;
}

export interface HeldRequests {
  /**
   * Watches the job `id` from now on, for `timeoutMs`: one that is about to be submitted with the channel `awaited`, or any other.
   *
   * @throws {SluiceError} `too_many_waits` when the tenant holds its share
   */
  hold(tenant: string, id: string, timeoutMs: number, by: 'awaited' | 'any'): HeldRequest;
  /** The channel that a submit names, to be told of the job's end. */
  readonly awaited: string;
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

const GIVEN_UP: Waking = { mayHaveEnded: false, told: null };

/** Returns the held requests of this process; a tenant holds at most `maxPerTenant` of them. */
export function createHeldRequests({ notices, clock, maxPerTenant }: HeldRequestsDeps): HeldRequests {
  const slots = createSlots(maxPerTenant, 'too_many_waits');
  const giveUps = new Set<() => void>();

  function hold(tenant: string, id: string, timeoutMs: number, by: 'awaited' | 'any'): HeldRequest {
    const leave = slots.take(tenant);
    let pending: Waking | null = null;
    let wake: (() => void) | null = null;
    const notify = (waking: Waking) => {
      pending = pending?.told || (pending && !waking.mayHaveEnded) ? pending : waking;
      wake?.();
    };
    const onEnded = (told: ToldEnd | null = null) => notify({ mayHaveEnded: true, told });
    const unwatch = by === 'awaited' ? notices.onAwaitedEnd(id, onEnded) : notices.onEnd(id, onEnded);
    let over = false;
    const giveUp = () => {
      over = true;
      notify(GIVEN_UP);
    };
    giveUps.add(giveUp);
    const cancelTimer = clock.after(timeoutMs, giveUp);

    return {
      async woken() {
        if (!pending && !over)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        const waking = pending ?? GIVEN_UP;
        pending = null;
        return waking;
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
    awaited: notices.awaited,
    close() {
      for (const giveUp of giveUps) giveUp();
    },
    get count() {
      return slots.taken;
    },
  };
}
