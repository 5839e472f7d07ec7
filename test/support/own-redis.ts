/**
 * A Redis of a test's own, to be killed, frozen and started again on its append-only file.
 */
import { startRedis, temporaryFolder } from './redis.js';

export interface OwnRedis {
  url: string;
  port: number;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** On the same folder and port; resolves when it has read its file and answers. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay, nothing is answered. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
}

export async function openOwnRedis(): Promise<OwnRedis> {
  const folder = temporaryFolder();
  let server = await startRedis(folder.path);
  const { url, port } = server;
  const signal = (name: NodeJS.Signals) => {
    if (server.pid !== undefined) process.kill(server.pid, name);
  };
  return {
    url,
    port,
    async kill() {
      server.signal('SIGKILL');
      await server.exited;
    },
    async restart() {
      server = await startRedis(folder.path, port);
    },
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    async close() {
      await server.stop();
      folder.remove();
    },
  };
}
