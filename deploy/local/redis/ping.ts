/**
 * Asks a Redis on loopback whether it serves, without a client, which would report every attempt before Redis does.
 */
import { createConnection } from 'node:net';

const TIMEOUT_MS = 1000;

/** A Redis on loopback. */
export interface RedisPlace {
  port: number;
  /** Null where clients need none. */
  password: string | null;
}

/**
 * Resolves to the first line of Redis' answer to PING, or to null when none comes within 1 s. A server that asks for no
 * password is another program, which has taken the port, and is not told the password.
 */
export async function ping({ port, password }: RedisPlace): Promise<string | null> {
  const answer = await ask(port, ['PING']);
  if (password === null) return answer;
  return answer?.startsWith('-NOAUTH') ? ask(port, [`AUTH ${password}`, 'PING']) : null;
}

/** Sends the commands one after the other, and resolves to the first line of the last answer; each must have one line. */
function ask(port: number, commands: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    let text = '';
    const done = (answer: string | null) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(TIMEOUT_MS, () => done(null));
    socket.on('error', () => done(null)).on('close', () => done(null));
    socket.on('connect', () => socket.write(commands.map((command) => `${command}\r\n`).join('')));
    socket.on('data', (chunk) => {
      text += chunk;
      const lines = text.split('\r\n');
      if (lines.length > commands.length) done(lines[commands.length - 1] ?? null);
    });
  });
}
