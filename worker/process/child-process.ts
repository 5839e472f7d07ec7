/**
 * Child process: one child, forked, up within a bound, ended.
 *
 *   starting -> up -> gone            starting -> gone (it says why, is too slow, or dies)
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../shared/base/clock.js';
import { ConfigError, inheritedEnvironment } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import type { Logger } from '../../shared/base/log.js';

/** How every child reports its start: it is up, or it refuses to run as configured. */
export type StartMessage<Report> = { type: 'up'; report: Report } | { type: 'refused'; reason: string };

/** `Message` is what the child says once it is up. */
export interface ChildProcessDeps<Message extends { type: string }> {
  /** The entry point of the child. */
  child: URL;
  /** The child gets them as its only argument, as JSON. */
  options: object;
  /** These variables are added to its environment, such as where CUDA's libraries lie. */
  environment: Record<string, string>;
  clock: Clock;
  log: Logger;
  /** Bound of the time from its start until it is up. */
  upTimeoutMs?: number | undefined;
  /** Hears what the child says once it is up. */
  onMessage: (message: Message) => void;
  /** Hears why a child that was up is gone. */
  onGone: (why: string) => void;
}

export interface StartedChild<Report> {
  /** Resolves with the child's report; rejects with the reason why it is not up. */
  readonly up: Promise<Report>;
  /** The process id; null when the child is gone. */
  readonly pid: number | null;
  /** Whether the child can still be sent messages. */
  readonly isConnected: boolean;
  send(message: object): void;
  kill(): void;
  /** Cuts the channel and resolves when the child is gone; one that does not end by itself is killed a little later. */
  end(): Promise<void>;
}

/** TensorFlow looks at every GPU before it answers. */
const UP_TIMEOUT_MS = 120_000;
/** A child may go on for so long after its channel was cut. */
const EXIT_GRACE_MS = 2000;

/**
 * Starts a child process at once.
 * A child that cannot be started rejects `up`.
 */
export function startChild<Report, Message extends { type: string }>(
  deps: ChildProcessDeps<Message>,
): StartedChild<Report> {
  const { options, environment, clock, log, upTimeoutMs = UP_TIMEOUT_MS, onMessage, onGone } = deps;
  const child = fork(fileURLToPath(deps.child), [JSON.stringify(options)], {
    serialization: 'advanced',
    env: inheritedEnvironment(environment),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const gone = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', (error) => {
      log.error({ err: error }, 'child');
      // A process that could not be made never exits.
      if (child.pid === undefined) resolve(messageOf(error));
    });
  });

  return {
    up: waitUntilUp(),
    get pid() {
      return isGone(child) ? null : (child.pid ?? null);
    },
    get isConnected() {
      return child.connected;
    },
    send(message) {
      child.send(message, (error) => {
        // A child that is gone is reported by `onGone`.
        if (error) log.debug({ err: error }, 'send to child');
      });
    },
    kill: () => void child.kill('SIGKILL'),
    async end() {
      if (isGone(child)) return;
      if (child.connected) child.disconnect();
      const cancel = clock.after(EXIT_GRACE_MS, () => child.kill('SIGKILL'));
      await gone;
      cancel();
    },
  };

  function waitUntilUp(): Promise<Report> {
    return new Promise((resolve, reject) => {
      let isUp = false;
      const cancel = clock.after(upTimeoutMs, () => {
        reject(new Error(`The child is not up after ${upTimeoutMs / 1000} s.`));
        child.kill('SIGKILL');
      });
      child.on('message', (message) => {
        const start = message as StartMessage<Report>;
        if (start.type === 'refused') return reject(new ConfigError(start.reason));
        if (start.type !== 'up') return onMessage(message as Message);
        cancel();
        isUp = true;
        resolve(start.report);
      });
      void gone.then((why) => {
        cancel();
        if (isUp) onGone(why);
        else reject(new Error(`The child ended before it was up (${why}).`));
      });
    });
  }
}

function isGone({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}
