/**
 * One question to a Redis on loopback, without a client: before it serves, every attempt to connect would be an error.
 */
import { createConnection } from 'node:net';

const TIMEOUT_MS = 1000;

/** The first line of the answer, or null if there is none. */
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
