/**
 * The processes under chaos: two APIs and two workers, each with a way to Redis of its own.
 *
 * Each is started again when it has ended, as a supervisor would do. One that served and then ended without being told to
 * has crashed; one that was told to must end within its own bound. Both are kept with their last words. A stop that the
 * bound had to end is counted, no more: it is what is promised where Redis is away.
 */
import type { ChildProcess } from 'node:child_process';
import { childrenOf, signal } from '../support/processes.js';
import type { TcpProxy } from '../support/proxy.js';
import { exited, freePort } from '../support/stack.js';
import type { Room } from './room.js';
import { APIS, WORKERS } from './schedule.js';

export interface Member {
  name: string;
  way: TcpProxy;
  /** Kills it, and its children too if asked; it stays down until `up`. */
  kill(withChildren: boolean): void;
  /** SIGTERM; it stays down until `up`. */
  stop(): void;
  /** Lets it be started again, at once or when it has ended. */
  up(): void;
  signal(name: NodeJS.Signals): void;
  signalChildren(name: NodeJS.Signals): void;
}

export interface Fleet {
  members: ReadonlyMap<string, Member>;
  /** The addresses of its APIs. */
  urls: string[];
  /** Processes that ended by themselves, or did not end when they were told to. */
  badEnds: string[];
  /** Processes that their own bound had to end. */
  forcedEnds: string[];
  /** Ends the restarting; the room ends the processes. */
  close(): void;
}

interface Told {
  signal: NodeJS.Signals;
  atMs: number;
}

const RESTART_MS = 500;
/** The bound that a process gives itself, and some time for a machine that is busy. */
const STOP_MS = 27_000;
const WORDS = 5;

export async function startFleet(room: Room, env: Record<string, string>): Promise<Fleet> {
  const members = new Map<string, Member>();
  const badEnds: string[] = [];
  const forcedEnds: string[] = [];
  const urls: string[] = [];
  let isOver = false;

  async function add(name: string, begin: (redisUrl: string) => Promise<ChildProcess>): Promise<void> {
    const way = await room.wayToRedis();
    let current: ChildProcess;
    let isWanted = true;
    let isDown = false;
    /** The signal that told the present process to end, and the time. */
    const orders: Told[] = [];

    async function start(): Promise<void> {
      isDown = false;
      orders.length = 0;
      current = await begin(way.url);
      const started = current;
      const words = lastWordsOf(started);
      const code = await exited(started);
      isDown = true;
      if (isOver) return;
      const told = orders.at(-1);
      const fault = faultOfEnd(code ?? started.signalCode, told, words.join('').includes(' serves"'));
      if (fault) badEnds.push(`${name} ${fault}\n${words.slice(-WORDS).join('')}`);
      if (told?.signal === 'SIGTERM' && code !== 0) forcedEnds.push(name);
      if (isWanted) setTimeout(restart, RESTART_MS);
    }
    const tellToEnd = (name: NodeJS.Signals, pids: readonly (number | undefined)[]) => {
      isWanted = false;
      orders.push({ signal: name, atMs: performance.now() });
      for (const pid of pids) signal(pid, name);
    };
    const restart = () => {
      if (isWanted && isDown && !isOver) void start();
    };

    void start();
    members.set(name, {
      name,
      way,
      kill: (withChildren) =>
        tellToEnd('SIGKILL', [current.pid, ...(withChildren ? childrenOf(current.pid) : [])]),
      stop: () => tellToEnd('SIGTERM', [current.pid]),
      up() {
        isWanted = true;
        restart();
      },
      signal: (name) => void signal(current.pid, name),
      signalChildren: (name) => childrenOf(current.pid).forEach((pid) => void signal(pid, name)),
    });
  }

  for (const name of APIS) {
    const port = String(await freePort());
    urls.push(`http://127.0.0.1:${port}`);
    await add(
      name,
      async (redisUrl) => (await room.stack.addApi({ ...env, PORT: port, REDIS_URL: redisUrl })).process,
    );
  }
  for (const name of WORKERS)
    await add(name, async (redisUrl) => room.stack.addWorker({ ...env, REDIS_URL: redisUrl }));
  return {
    members,
    urls,
    badEnds,
    forcedEnds,
    close() {
      isOver = true;
    },
  };
}

/** Grows with what the process writes. */
function lastWordsOf({ stdout, stderr }: ChildProcess): string[] {
  const words: string[] = [];
  for (const stream of [stdout, stderr]) {
    stream?.on('data', (text) => {
      // The debug lines of a busy process would be all that is left of it.
      const lines = String(text)
        .split('\n')
        .filter((line) => line !== '' && !line.includes('"level":20'));
      words.push(...lines.map((line) => `    ${line}\n`));
    });
  }
  return words;
}

function faultOfEnd(end: number | string | null, told: Told | undefined, hasServed: boolean): string | null {
  if (!told) return hasServed ? `ended by itself: ${end}` : null;
  if (told.signal === 'SIGKILL') return null;
  const tookMs = performance.now() - told.atMs;
  return tookMs > STOP_MS ? `took ${Math.round(tookMs / 1000)} s to stop: ${end}` : null;
}
