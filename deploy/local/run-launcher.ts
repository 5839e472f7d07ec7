/**
 * A launch from its first line on the terminal to its exit code: bring Sluice up, say how to use it, wait for Ctrl-C or
 * for a program that gives up, and take it down again.
 */
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../shared/base/clock.js';
import { ConfigError, EXIT_CONFIG } from '../../shared/base/config.js';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';
import { bannerOf } from './banner.js';
import { type Launched, launch } from './launch.js';
import { onStopSignals } from './signals.js';

const ENTRIES = {
  api: fileURLToPath(new URL('../../api/main.js', import.meta.url)),
  worker: fileURLToPath(new URL('../../worker/main.js', import.meta.url)),
};

export interface LauncherTerminal {
  tell(line: string): void;
  /** Aborts when the user has asked for the end. */
  readonly stopping: AbortSignal;
}

/** Runs the launcher and ends this process with its exit code; `whileUp` is called once Sluice is up. */
export function runLauncher(whileUp?: (launched: Launched, terminal: LauncherTerminal) => void): void {
  runToEnd(whileUp).then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`${messageOf(error)}\n`);
      process.exit(error instanceof ConfigError ? EXIT_CONFIG : 1);
    },
  );
}

async function runToEnd(whileUp?: (launched: Launched, terminal: LauncherTerminal) => void): Promise<number> {
  const tell = (line: string) => void process.stdout.write(`${line}\n`);
  // A terminal that was closed must not keep the launcher from ending the others.
  process.stdout.on('error', () => {});
  const stopping = new AbortController();
  let launched: Launched | undefined;
  onStopSignals(process, systemClock, {
    first: () => {
      tell('\nStopping. Ctrl-C again does not wait for what is running.');
      stopping.abort();
    },
    again: () => launched?.kill(),
  });

  const config = loadConfig();
  try {
    launched = await launch({ config, entries: ENTRIES, tell, signal: stopping.signal });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    tell('Stopped.');
    return 0;
  }
  tell(bannerOf(launched, config));
  whileUp?.(launched, { tell, stopping: stopping.signal });
  const isAsked = await Promise.race([
    aborted(stopping.signal).then(() => true),
    launched.failed.then(() => false),
  ]);
  await launched.stop();
  tell('Stopped.');
  return isAsked ? 0 : EXIT_CONFIG;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
