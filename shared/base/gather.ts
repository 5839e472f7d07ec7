/**
 * Calls that arrive in one turn of the event loop, made as one.
 */
import type { Clock } from './clock.js';

/** `act` gets at most `most` inputs in the order of their calls and must answer each in its place; if it rejects, all do. */
export function gather<I, O>(
  clock: Clock,
  most: number,
  act: (inputs: I[]) => Promise<O[]>,
): (input: I) => Promise<O> {
  interface Call {
    input: I;
    resolve: (output: O) => void;
    reject: (reason: unknown) => void;
  }
  let calls: Call[] = [];

  async function flush(): Promise<void> {
    const flushed = calls;
    calls = [];
    if (flushed.length === 0) return;
    try {
      const outputs = await act(flushed.map(({ input }) => input));
      for (const [i, { resolve }] of flushed.entries()) resolve(outputs[i] as O);
    } catch (error) {
      for (const { reject } of flushed) reject(error);
    }
  }

  return (input) =>
    new Promise((resolve, reject) => {
      calls.push({ input, resolve, reject });
      if (calls.length === 1) clock.soon(() => void flush());
      if (calls.length === most) void flush();
    });
}
