/**
 * The life of a process: open, serve, wait for a signal, close in reverse order, exit within a bound.
 *
 * States: running -> draining (first SIGTERM or SIGINT, or `stop`) -> ended. A second signal, or `SHUTDOWN_BOUND_MS`
 * after the first, ends the process at once with code 1: closing may hang for ever when a store is gone, exiting may not.
 * A process that knows earlier that it will hang calls `abandon`.
 */
import { type Clock, systemClock } from './clock.js';
import { ConfigError } from './config.js';
import { messageOf } from './errors.js';
import { createLogger, type Logger } from './log.js';

export const SHUTDOWN_BOUND_MS = 25_000;

/** The part of a process' configuration that `run` itself reads. */
export interface LogConfig {
  LOG_LEVEL: string;
}

export interface Runner<Config extends LogConfig> {
  config: Config;
  log: Logger;
  /** Registers a closer; closers run in reverse order of registration. */
  defer(name: string, close: () => unknown): void;
  /** Aborts when draining begins. */
  readonly draining: AbortSignal;
  /** Ends a draining process at once, because its closers wait for something that will not come. */
  abandon(reason: string): void;
  /** Begins draining as a signal would. */
  stop(reason: string): void;
}

/**
 * Runs one process from its configuration to its exit code.
 * @param loadConfig throws a `ConfigError` where the process must not run as configured: exit code 78.
 * @param body opens and serves; it resolves when the process serves.
 */
export async function run<Config extends LogConfig>(
  name: string,
  loadConfig: () => Config,
  body: (runner: Runner<Config>) => Promise<void>,
  clock: Clock = systemClock,
): Promise<void> {
  const config = configOrExit(loadConfig);
  const log = createLogger(name, config.LOG_LEVEL);
  const controller = new AbortController();
  const closers: { name: string; close: () => unknown }[] = [];
  let signals = 0;

  const stop = (reason: string) => {
    if (controller.signal.aborted) return;
    log.info({ reason }, 'draining');
    clock.after(SHUTDOWN_BOUND_MS, () => {
      log.error('forced to exit: closing took longer than the bound');
      process.exit(1);
    });
    controller.abort(reason);
  };
  const abandon = (reason: string) => {
    log.warn({ reason }, 'forced to exit');
    process.exit(1);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (++signals > 1) {
      log.warn({ signal }, 'forced to exit: second signal');
      process.exit(1);
    }
    stop(signal);
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  process.on('uncaughtException', (error) => crash(log, 'uncaught exception', error));
  process.on('unhandledRejection', (error) => crash(log, 'unhandled rejection', error));

  let exitCode = 0;
  try {
    await body({
      config,
      log,
      defer: (name, close) => void closers.push({ name, close }),
      draining: controller.signal,
      abandon,
      stop,
    });
    await aborted(controller.signal);
  } catch (error) {
    log.fatal({ err: error }, 'cannot start');
    exitCode = exitCodeOf(error);
    stop('cannot start');
  }
  for (const { name, close } of closers.reverse()) {
    try {
      await close();
    } catch (error) {
      log.error({ err: error, closing: name }, 'closing failed');
      exitCode ||= 1;
    }
  }
  log.info({ exitCode }, 'ended');
  process.exit(exitCode);
}

/** Writes the fault as plain text, because there is no log yet. */
function configOrExit<Config>(loadConfig: () => Config): Config {
  try {
    return loadConfig();
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(exitCodeOf(error));
  }
}

function exitCodeOf(error: unknown): number {
  return error instanceof ConfigError ? error.exitCode : 1;
}

function crash(log: Logger, what: string, error: unknown): never {
  log.fatal({ err: error }, what);
  process.exit(1);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
