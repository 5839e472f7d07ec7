/**
 * Allows one launcher a data folder, and ends the programs that a killed launcher has left running.
 *
 * A launcher killed by SIGKILL cannot end the API, the worker and Redis. They go on serving, which harms nothing, until
 * the next launcher of that folder ends them here.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../shared/base/clock.js';
import { ConfigError } from '../../shared/base/config.js';
import { makeOwnFolder } from '../../shared/base/disk.js';
import { endRemembered, remember, remembered } from './process.js';

const GRACE_MS = 3000;

/**
 * Takes the folder for this process and returns the function that gives it back.
 *
 * @throws {ConfigError} when another launcher that still runs has taken it
 */
export function takeFolder(dataDir: string, runDir: string): () => void {
  makeOwnFolder(runDir, 'SLUICE_DATA_DIR');
  const file = join(runDir, 'launcher.pid');
  try {
    remember(file, process.pid, true);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const pid = remembered(file);
    if (pid !== null)
      throw new ConfigError(
        `Sluice already runs on ${dataDir} (process ${pid}). Stop it, or choose another folder with SLUICE_DATA_DIR.`,
      );
    remember(file, process.pid);
  }
  return () => rmSync(file, { force: true });
}

/** Ends the programs of an earlier launcher: the API and the worker first, because they use Redis. */
export async function endLeftovers(
  runDir: string,
  clock: Clock,
  tell: (line: string) => void,
): Promise<void> {
  const endOne = async (name: string) => {
    if (await endRemembered(join(runDir, `${name}.pid`), GRACE_MS, clock))
      tell(`Ended the ${name} process that an earlier launcher left running.`);
  };
  await Promise.all([endOne('api'), endOne('worker')]);
  await endOne('redis');
}
