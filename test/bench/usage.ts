/**
 * Reads from /proc the processor time and the memory of a system's processes and of all that they started.
 *
 * Null on a system without /proc.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  /** Since the processes started. */
  cpuMs: number;
  /** Resident; what two processes share is counted twice. */
  memoryMb: number;
}

/** Linux tells processor time in hundredths of a second, whatever its own clock. */
const MS_PER_TICK = 10;

export function usageOf(pids: readonly number[]): Usage | null {
  const parents = parentsOfAll();
  if (!parents) return null;
  const isOurs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pids.includes(pid) || isOurs(parents.get(pid)));
  const usage: Usage = { cpuMs: 0, memoryMb: 0 };
  for (const pid of [...parents.keys()].filter(isOurs)) {
    usage.cpuMs += cpuMsOf(pid);
    usage.memoryMb += memoryMbOf(pid);
  }
  return usage;
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
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
  } catch {
    return [];
  }
}

function cpuMsOf(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * MS_PER_TICK;
}

function memoryMbOf(pid: number): number {
  try {
    const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(kib ?? 0) / 1024;
  } catch {
    return 0;
  }
}
