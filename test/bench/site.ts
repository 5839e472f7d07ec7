/**
 * The ground on which a bench builds what it measures: a temporary folder, a Redis program, and a promise that nothing of
 * it is left behind, also after a failure or Ctrl-C.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findRedisProgram } from '../../deploy/local/redis/find-redis.js';
import type { RedisProgram } from '../../deploy/local/redis/redis-program.js';
import { messageOf } from '../../shared/base/errors.js';
import { loadConfig } from '../../shared/contract/config.js';

export interface Site {
  /** Temporary; each system takes a folder in it. */
  folder: string;
  program: RedisProgram;
  /** Called at the end, in reverse order. */
  defer(close: () => Promise<unknown>): void;
  signal: AbortSignal;
  /** The program that runs what is measured. */
  node: string;
}

export const tell = (line: string) => console.error(line);

/** Runs `act` on a site of its own, with `node` for what is measured; sets the exit code when it fails. */
export async function onSite(act: (site: Site) => Promise<void>, node = process.execPath): Promise<void> {
  const stopping = new AbortController();
  const closers: (() => Promise<unknown>)[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => stopping.abort(new Error(`interrupted by ${name}`)));
  }
  // A promise that nobody awaits may reject, most of all once the bench is interrupted; the servers must still be ended.
  for (const name of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(name, (error) => stopping.abort(error));
  }
  const { signal } = stopping;

  async function work(): Promise<void> {
    const program = await findRedisProgram({ cacheDir: loadConfig().SLUICE_CACHE_DIR, tell, signal });
    await act({ folder, program, signal, node, defer: (close) => void closers.push(close) });
  }

  async function closeAll(): Promise<void> {
    for (let close = closers.pop(); close; close = closers.pop()) {
      await close().catch((error) => tell(`closing failed: ${messageOf(error)}`));
    }
  }

  const working = work();
  try {
    await Promise.race([working, aborted(signal)]);
  } catch (error) {
    tell(messageOf(error));
    process.exitCode = 1;
  } finally {
    stopping.abort();
    await closeAll();
    // An interrupted start may have left more to close.
    await working.catch(() => undefined);
    await closeAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes a file of results. `date` is as `toTimestamp` writes it; `kind` begins the name of the file. */
export function writeResult(
  folder: string,
  kind: string,
  date: string,
  extension: string,
  text: string,
): void {
  mkdirSync(folder, { recursive: true });
  const name = date.slice(0, 16).replaceAll(':', '').replace('T', '-');
  writeFileSync(join(folder, `${kind}${name}.${extension}`), text);
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
}
