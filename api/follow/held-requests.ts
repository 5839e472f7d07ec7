/**
 * Held requests: a caller that waits for the end of jobs costs an entry in a map for each, and no polling.
 */
import type { ServerResponse } from 'node:http';
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

export interface Watch {
  /** Resolves when the job may have ended, or is waited for no more. */
  woken(): Promise<Waking>;
}

export interface HeldRequest {
  /** Watches a job from now on: one that is about to be submitted with the channel `awaited`, or any other. */
  watch(id: string, by: 'awaited' | 'any'): Watch;
  /** Gives back what the wait holds. The holder must call it in the end. */
  release(): void;
}

export interface HeldRequests {
  /** The channel that a submit names, to be told of the job's end. */
  readonly awaited: string;
  /**
   * Holds a request for `timeoutMs` from now on, or until the caller that gets `response` hangs up.
   *
   * @throws {SluiceError} `too_many_waits` when the tenant holds its share
   */
  hold(tenant: string, timeoutMs: number, response: ServerResponse): HeldRequest;
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

  function hold(tenant: string, timeoutMs: number, response: ServerResponse): HeldRequest {
    const leave = slots.take(tenant);
    const wakes: (() => void)[] = [];
    const unwatches: (() => void)[] = [];
    let over = false;
    const giveUp = () => {
      over = true;
      for (const wake of wakes) wake();
    };
    giveUps.add(giveUp);
    const cancelTimer = clock.after(timeoutMs, giveUp);
    if (response.destroyed) giveUp();
    else response.once('close', giveUp);

    function watch(id: string, by: 'awaited' | 'any'): Watch {
      let pending: Waking | null = null;
      let wake = () => {};
      wakes.push(() => wake());
      const onEnded = (told: ToldEnd | null = null) => {
        pending = { mayHaveEnded: true, told: told ?? pending?.told ?? null };
        wake();
      };
      unwatches.push(by === 'awaited' ? notices.onAwaitedEnd(id, onEnded) : notices.onEnd(id, onEnded));
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
      };
    }

    return {
      watch,
      release() {
        cancelTimer();
        response.off('close', giveUp);
        for (const unwatch of unwatches) unwatch();
        giveUps.delete(giveUp);
        leave();
      },
    };
  }

  return {
    awaited: notices.awaited,
    hold,
    close() {
      for (const giveUp of giveUps) giveUp();
    },
    get count() {
      return slots.taken;
    },
  };
}
