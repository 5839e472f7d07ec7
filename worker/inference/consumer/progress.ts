/**
 * Progress of one execution: how many of its instances are done, reported at once and then every `PERIOD_MS` at most.
 *
 * One report is under way at a time, so that a slow Redis gets fewer of them. The next report makes good for one that
 * fails. The last instance is not reported, because the job's end says so.
 */
import type { Clock } from '../../../shared/base/clock.js';
import type { Progress } from '../../../shared/contract/job.js';

export interface ProgressDeps {
  clock: Clock;
  /** How many instances the job has. */
  total: number;
  report: (progress: Progress) => Promise<unknown>;
  onError: (error: Error) => void;
}

export interface ProgressMeter {
  /** So many more instances are done. */
  add(instances: number): void;
  /** Reports nothing any more. */
  stop(): void;
}

export const PERIOD_MS = 250;

/** Reports that nothing is done yet, and returns what counts from then on. */
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

/** An execution in one piece has nothing to report. */
export const NO_PROGRESS: ProgressMeter = { add: () => undefined, stop: () => undefined };
