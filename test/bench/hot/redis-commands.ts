/**
 * Counts what clients ask of a Redis: scripts, and the commands that run inside them.
 *
 * INFO commandstats counts a command the same whether a client or a script called it, so the counts are taken from MONITOR,
 * which names the caller. It costs Redis time, so nothing is timed meanwhile.
 */
import { connect } from 'node:net';

export interface CommandCounts {
  /** Scripts and functions that clients called. */
  scripts: number;
  /** Commands that scripts called. */
  inScripts: number;
}

/** A line of MONITOR: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`, with `lua` for the address of a script's command. */
const LINE = /^\+[\d.]+ \[\d+ (\S+)\] "(\w+)/;
const SCRIPT = /^(evalsha|eval|fcall)(_ro)?$/i;

/** Returns a counter of the lines of MONITOR, which may come in pieces. */
export function createCommandCounter(): { take(text: string): void; counts: CommandCounts } {
  const counts: CommandCounts = { scripts: 0, inScripts: 0 };
  let rest = '';
  return {
    counts,
    take(text) {
      const lines = `${rest}${text}`.split('\r\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const [, caller, name = ''] = LINE.exec(line) ?? [];
        if (caller === 'lua') counts.inScripts++;
        else if (SCRIPT.test(name)) counts.scripts++;
      }
    },
  };
}

/** Counts while `act` runs, and resolves to its result beside the counts. */
export async function countCommands<T>(port: number, act: () => Promise<T>): Promise<[T, CommandCounts]> {
  const counter = createCommandCounter();
  const socket = connect(port, '127.0.0.1').setEncoding('latin1').setNoDelay();
  const failed = new Promise<never>((_, reject) => socket.once('error', reject));
  try {
    const monitoring = new Promise<void>((resolve) => socket.once('data', () => resolve()));
    socket.write('MONITOR\r\n');
    await Promise.race([monitoring, failed]);
    socket.on('data', (text) => counter.take(String(text)));
    const result = await Promise.race([act(), failed]);
    // The connection ends once all lines before have been sent.
    const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write('QUIT\r\n');
    await Promise.race([ended, failed]);
    return [result, counter.counts];
  } finally {
    socket.destroy();
  }
}
