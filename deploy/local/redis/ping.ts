/**
 * Asks a Redis on loopback one question without a client, which would report every attempt before Redis serves.
 */
import { createConnection } from 'node:net';

const TIMEOUT_MS = 1000;

/** Resolves to the first line of the answer, or to null when none comes within 1 s. */
export function ask(port: number, command: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    let text = '';
    const done = (answer: string | null) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(TIMEOUT_MS, () => done(null));
    socket.on('error', () => done(null)).on('close', () => done(null));
    socket.on('connect', () => socket.write(`${command}\r\n`));
    socket.on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\r\n');
      if (end >= 0) done(text.slice(0, end));
    });
  });
}
