/**
 * Keeps one program running.
 *
 * States: running -> waiting (the program ended by itself) -> running …; `restart` leads to running at once, `stop` and
 * exit code 78 lead to ended, which is final. The wait doubles from `FIRST_WAIT_MS` to `LONGEST_WAIT_MS`, and begins anew once
 * the program has run for `HEALTHY_MS`. Code 78 says that the program must not run as configured, so another try would end
 * the same way.
 */
import { type Clock, sleep } from '../../shared/base/clock.js';
import { EXIT_CONFIG } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { type Exit, end, type Running } from './process.js';

export const FIRST_WAIT_MS = 500;
export const LONGEST_WAIT_MS = 10_000;
export const HEALTHY_MS = 30_000;

export interface SupervisorOptions {
  name: string;
  /** Starts the program; rejects when it does not come up. */
  start(): Running | Promise<Running>;
  clock: Clock;
  tell(line: string): void;
  /** Returns the last lines of the program's log, for the terminal. */
  lastWords(): string;
}

export interface Supervised {
  /** Resolves once the program has ended for good: true after `stop`, false when it refused its configuration. */
  readonly ended: Promise<boolean>;
  stop(graceMs: number): Promise<void>;
  /** Ends the program within `graceMs` and starts it again without a wait; resolves when the old run has ended. */
  restart(graceMs: number): Promise<void>;
  /** Ends the program at once. */
  kill(): void;
}

/** Keeps a program running; `first` is a run that was started before. */
export function supervise(options: SupervisorOptions, first?: Running): Supervised {
  const { name, clock, tell } = options;
  const stopping = new AbortController();
  let restarting = new AbortController();
  let current: Running | undefined;

  async function runOnce(running: Running | undefined): Promise<Exit> {
    try {
      current = running ?? (await options.start());
    } catch (error) {
      return {
        code: null,
        signal: null,
        error: error instanceof Error ? error : new Error(messageOf(error)),
      };
    }
    if (stopping.signal.aborted) current.signal('SIGTERM');
    return current.exited;
  }

  async function keep(): Promise<boolean> {
    let waitMs = FIRST_WAIT_MS;
    let next = first;
    for (;;) {
      restarting = new AbortController();
      const startedMs = clock.monotonic();
      const exit = await runOnce(next);
      next = undefined;
      if (stopping.signal.aborted) return true;
      if (restarting.signal.aborted) {
        waitMs = FIRST_WAIT_MS;
        continue;
      }
      if (exit.code === EXIT_CONFIG) {
        tell(`${name} refuses its configuration:\n${options.lastWords()}`);
        return false;
      }
      if (clock.monotonic() - startedMs >= HEALTHY_MS) waitMs = FIRST_WAIT_MS;
      const lastWords = options.lastWords();
      tell(
        `${name} ${describe(exit)}; starting it again in ${waitMs / 1000} s.${lastWords && `\n${lastWords}`}`,
      );
      await sleep(clock, waitMs, AbortSignal.any([stopping.signal, restarting.signal]));
      if (stopping.signal.aborted) return true;
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    }
  }

  const ended = keep();
  return {
    ended,
    async stop(graceMs) {
      stopping.abort();
      const cancel = clock.after(graceMs, () => current?.signal('SIGKILL'));
      current?.signal('SIGTERM');
      await ended;
      cancel();
    },
    async restart(graceMs) {
      restarting.abort();
      if (current) await end(current, graceMs, clock);
    },
    kill: () => current?.signal('SIGKILL'),
  };
}

function describe(exit: Exit): string {
  if (exit.error) return `did not start (${exit.error.message})`;
  return exit.signal ? `was ended by ${exit.signal}` : `ended with code ${exit.code}`;
}
