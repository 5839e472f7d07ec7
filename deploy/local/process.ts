/**
 * Long-running programs, each the leader of its own process group.
 *
 * A terminal's Ctrl-C reaches only the launcher, which ends the others in its own order. A signal sent to one of these
 * programs reaches the children that it started, too. A file remembers each program by process id and start time (the
 * system uses ids again), so that a later launcher can end the programs that a killed launcher has left behind.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, sleep } from '../../shared/base/clock.js';
import { inheritedEnvironment } from '../../shared/base/config.js';

/** Keeps memory together: by default glibc has eight pools a core, and what a thread gave back stays in its pool. */
export const NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' } as const;

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Given when the program could not be started at all. */
  error?: Error;
}

export type EndSignal = 'SIGTERM' | 'SIGKILL';

export interface Running {
  readonly pid: number | undefined;
  readonly exited: Promise<Exit>;
  /** Sends a signal to the whole process group; does nothing when it is gone. */
  signal(name: EndSignal): void;
}

export interface ProgramOptions {
  command: string;
  args: readonly string[];
  environment?: Record<string, string>;
  cwd?: string;
  /** Takes the program's output, appended. */
  logFile: string;
  pidFile: string;
}

const POLL_MS = 20;

/** Starts a program. A program that cannot be started resolves `exited` with the error; nothing is thrown. */
export function start(program: ProgramOptions): Running {
  mkdirSync(dirname(program.pidFile), { recursive: true });
  mkdirSync(dirname(program.logFile), { recursive: true });
  const log = openSync(program.logFile, 'a');
  const child = spawn(program.command, program.args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: inheritedEnvironment(program.environment ?? {}),
    ...(program.cwd && { cwd: program.cwd }),
  });
  closeSync(log);
  const { pid } = child;
  if (pid !== undefined) remember(program.pidFile, pid);
  const exited = new Promise<Exit>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  }).then((exit) => {
    // Children of the leader must not outlive it, because its successor would find its devices taken.
    if (pid !== undefined) signalGroup(pid, 'SIGKILL');
    rmSync(program.pidFile, { force: true });
    return exit;
  });
  return { pid, exited, signal: (name) => pid !== undefined && signalGroup(pid, name) };
}

/** Ends a program by SIGTERM, and by SIGKILL after `graceMs`; resolves once it has exited. */
export async function end(running: Running, graceMs: number, clock: Clock): Promise<Exit> {
  const cancel = clock.after(graceMs, () => running.signal('SIGKILL'));
  running.signal('SIGTERM');
  const exit = await running.exited;
  cancel();
  return exit;
}

/** Ends the program that `pidFile` remembers, and resolves to whether it still ran. SIGKILL follows after `graceMs`. */
export async function endRemembered(pidFile: string, graceMs: number, clock: Clock): Promise<boolean> {
  const pid = remembered(pidFile);
  if (pid === null) {
    rmSync(pidFile, { force: true });
    return false;
  }
  signalGroup(pid, 'SIGTERM');
  const deadline = clock.monotonic() + graceMs;
  while (remembered(pidFile) !== null) {
    if (clock.monotonic() > deadline) signalGroup(pid, 'SIGKILL');
    await sleep(clock, POLL_MS);
  }
  signalGroup(pid, 'SIGKILL');
  rmSync(pidFile, { force: true });
  return true;
}

/** Writes a process id with its start time. With `exclusive`, it throws EEXIST when the file is there. */
export function remember(pidFile: string, pid: number, exclusive = false): void {
  writeFileSync(pidFile, `${pid} ${startOf(pid) ?? ''}\n`, { flag: exclusive ? 'wx' : 'w' });
}

/** Returns the process id in the file, or null when that very process no longer runs. */
export function remembered(pidFile: string): number | null {
  let text: string;
  try {
    text = readFileSync(pidFile, 'utf8').trim();
  } catch {
    return null;
  }
  const [, pid, started] = /^(\d+) (.+)$/.exec(text) ?? [];
  return pid && startOf(Number(pid)) === started ? Number(pid) : null;
}

/** Returns when a process started, in the system's own notation; null when it is gone or only awaits being reaped. */
function startOf(pid: number): string | null {
  if (process.platform === 'linux') {
    try {
      // proc(5): the name stands in brackets and may hold anything. State is field 3, start time field 22.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      return fields[0] === 'Z' ? null : (fields[19] ?? null);
    } catch {
      return null;
    }
  }
  const answer = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return answer.stdout?.trim() || null;
}

function signalGroup(pid: number, name: EndSignal): void {
  try {
    process.kill(-pid, name);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // EPERM: macOS answers so when only unreaped processes are left in the group.
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}
