/**
 * Reads from /proc the processor time and the memory of a system's processes and of all that they started.
 *
 * Null on a system without /proc.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** Milliseconds of all cores together, since the machine started. */
export interface CoreTimes {
  /** In which they worked for anybody. */
  busyMs: number;
  totalMs: number;
}

/** Linux tells processor time in hundredths of a second, whatever its own clock. */
const MS_PER_TICK = 10;

/**
 * Returns the milliseconds of processor time that these processes and their descendants have taken since they started. The time
 * of a child that has ended is in that of its parent, so the sum never falls.
 */
export function cpuMsOf(pids: readonly number[]): number | null {
  return sumOver(pids, (pid) => {
    // The fields utime, stime, cutime and cstime of proc(5).
    const ticks = statOf(pid).slice(11, 15).map(Number);
    return ticks.reduce((sum, each) => sum + each, 0) * MS_PER_TICK;
  });
}

/**
 * Returns the megabytes that these processes and their descendants hold, as the proportional set size: a page that n processes
 * share counts as 1/n in each. The kernel adds the pages up itself: smaps_rollup of proc(5).
 */
export function memoryMbOf(pids: readonly number[]): number | null {
  return sumOver(pids, (pid) => {
    const [, kib = 0] = /^Pss:\s+(\d+)/m.exec(textOf(`/proc/${pid}/smaps_rollup`)) ?? [];
    return Number(kib) / 1024;
  });
}

/** Returns the times of the machine's cores. */
export function coreTimes(): CoreTimes {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const totalMs = sum(cpus().flatMap(({ times }) => Object.values(times)));
  return { busyMs: totalMs - sum(cpus().map(({ times }) => times.idle)), totalMs };
}

function sumOver(pids: readonly number[], figure: (pid: number) => number): number | null {
  const parents = parentsOfAll();
  if (!parents) return null;
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pids.includes(pid) || isOurs(parents.get(pid)));
  return [...parents.keys()].filter(isOurs).reduce((sum, pid) => sum + figure(pid), 0);
}

function parentsOfAll(): Map<number, number> | null {
  try {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return new Map(pids.map((pid) => [Number(pid), Number(statOf(pid)[1])]));
  } catch {
    return null;
  }
}

/** The fields after the name, which is in brackets and may hold anything; empty once the process is gone. */
function statOf(pid: number | string): string[] {
  return textOf(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, '')
    .split(' ');
}

/** Empty once the process is gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
