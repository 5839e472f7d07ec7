/**
 * Progress of one execution: how many of its instances are done, reported at once and then each `PERIOD_MS` at most.
 *
 * One report is under way at a time, so that a slow Redis gets fewer of them. A report that fails is made good by the
 * next; the last instance is not reported, since the end says so.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Progress } from '../../../shared/contract/job.js';

export interface ProgressDeps {
  clock: Clock;
  /** Instances of the job. */
  total: number;
  report: (progress: Progress) => Promise<unknown>;
  onError: (error: Error) => void;
}

export interface ProgressMeter {
  /** So many instances more are done. */
  add(instances: number): void;
  /** Nothing is reported any more. */
  stop(): void;
}

export const PERIOD_MS = 250;

export function startProgress({ clock, total, report, onError }: ProgressDeps): ProgressMeter {
  let done = 0;
  let reported = -1;
  let resting = false;
  let stopped = false;
  let cancelRest = () => {};

  function tell(): void {
    if (stopped || resting || reported === done || done === total) return;
    resting = true;
    reported = done;
    void report({ done, total })
      .catch(onError)
      .finally(() => {
        cancelRest = clock.after(PERIOD_MS, () => {
          resting = false;
          tell();
        });
        if (stopped) cancelRest();
      });
  }

  tell();
  return {
    add(instances) {
      done += instances;
      tell();
    },
    stop() {
      stopped = true;
      cancelRest();
    },
  };
}

/** Of an execution in one piece there is nothing to tell. */
export const NO_PROGRESS: ProgressMeter = { add: () => undefined, stop: () => undefined };
