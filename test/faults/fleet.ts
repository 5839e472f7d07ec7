/**
 * The processes under chaos: two APIs and two workers, each with a way to Redis of its own.
 *
 * Each is started again when it has ended, as a supervisor would do. One that served and then ended without being told to
 * has crashed, and is remembered.
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
  /** Of its APIs. */
  urls: string[];
  /** What ended by itself. */
  crashes: string[];
  /** Ends the restarting; the room ends the processes. */
  close(): void;
}

const RESTART_MS = 500;

export async function startFleet(room: Room, env: Record<string, string>): Promise<Fleet> {
  const members = new Map<string, Member>();
  const crashes: string[] = [];
  const urls: string[] = [];
  let isOver = false;

  async function add(name: string, begin: (redisUrl: string) => Promise<ChildProcess>): Promise<void> {
    const way = await room.wayToRedis();
    let current: ChildProcess;
    let isWanted = true;
    let isDown = false;

    async function start(): Promise<void> {
      isDown = false;
      current = await begin(way.url);
      const started = current;
      let serves = false;
      started.stdout?.on('data', (text) => {
        serves ||= String(text).includes(' serves"');
      });
      const code = await exited(started);
      isDown = true;
      if (isOver) return;
      if (isWanted && serves)
        crashes.push(`${name} ended by itself: ${started.signalCode ?? `code ${code}`}`);
      if (isWanted) setTimeout(restart, RESTART_MS);
    }
    const restart = () => {
      if (isWanted && isDown && !isOver) void start();
    };

    void start();
    members.set(name, {
      name,
      way,
      kill(withChildren) {
        isWanted = false;
        const children = withChildren ? childrenOf(current.pid) : [];
        for (const pid of [current.pid, ...children]) signal(pid, 'SIGKILL');
      },
      stop() {
        isWanted = false;
        signal(current.pid, 'SIGTERM');
      },
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
    crashes,
    close() {
      isOver = true;
    },
  };
}
