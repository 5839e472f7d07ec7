/**
 * A Redis of one test, which the test kills, freezes, and starts again on its append-only file.
 */
import { signal } from './processes.js';
import { startRedis, temporaryFolder } from './started-redis.js';

export interface OwnRedis {
  url: string;
  port: number;
  /** Sends SIGKILL; resolves when the server is gone. */
  kill(): Promise<void>;
  /** Starts it on the same folder and port, with more settings; resolves when it has read its file and answers. */
  restart(settings?: readonly string[]): Promise<void>;
  /** Sends SIGSTOP: connections stay open and nothing is answered. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

/** Starts one; `settings` are arguments of redis-server until the first restart. */
export async function openOwnRedis(settings: readonly string[] = []): Promise<OwnRedis> {
  const folder = temporaryFolder();
  let server = await startRedis(folder.path, undefined, settings);
  const { url, port } = server;
  return {
    url,
    port,
    async kill() {
      server.signal('SIGKILL');
      await server.exited;
    },
    async restart(settings = []) {
      server = await startRedis(folder.path, port, settings);
    },
    freeze: () => void signal(server.pid, 'SIGSTOP'),
    thaw: () => void signal(server.pid, 'SIGCONT'),
    async close() {
      await server.stop();
      folder.remove();
    },
  };
}
