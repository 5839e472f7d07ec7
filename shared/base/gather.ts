/**
 * Gathers the calls of one turn of the event loop into one call, so that they cost one round trip.
 */
import type { Clock } from './clock.js';

/**
 * Returns a function whose calls of one turn are made as one call of `act`.
 * @param most is how many inputs `act` gets at once, in the order of their calls.
 * @param act returns one output per input, in the same order; when it rejects, all of its calls reject.
 */
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
