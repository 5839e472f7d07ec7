/**
 * A Redis of a test's own, to be killed, frozen and started again on its append-only file.
 */
import { signal } from './processes.js';
import { startRedis, temporaryFolder } from './redis.js';

export interface OwnRedis {
  url: string;
  port: number;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** On the same folder and port, with more settings; resolves when it has read its file and answers. */
  restart(settings?: readonly string[]): Promise<void>;
  /** SIGSTOP: connections stay, nothing is answered. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

export async function openOwnRedis(): Promise<OwnRedis> {
  const folder = temporaryFolder();
  let server = await startRedis(folder.path);
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
