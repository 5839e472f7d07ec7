/**
 * Reads bits, the most significant first. To read beyond the end throws, so that no loop of a reader outlasts its bytes.
 */

export interface BitReader {
  /** Returns the next `count` bits, 0 to 32, as an unsigned integer. */
  unsigned(count: number): number;
  /** Returns the next `count` bits, 0 to 32, as an integer in two's complement. */
  signed(count: number): number;
  /** Returns how many zeros come before the next one, and passes that one. */
  zeros(): number;
  /** Passes the rest of the byte, and returns the place in bytes. */
  align(): number;
}

/** A window of four bytes has at least this many bits behind the place in its first byte. */
const WINDOW = 25;

/** Returns a reader of `bytes` that begins at the byte `start`. */
export function createBitReader(bytes: Uint8Array, start: number): BitReader {
  let at = start;
  let passed = 0;

  /** The next bits at the top of 32, of which `32 - passed` are there. */
  function window(): number {
    const word =
      ((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number);
    return word << passed;
  }

  function pass(count: number): void {
    const bits = passed + count;
    at += bits >>> 3;
    passed = bits & 7;
    if (at > bytes.length || (at === bytes.length && passed > 0)) throw new Error('is cut off');
  }

  function unsigned(count: number): number {
    if (count > WINDOW) return unsigned(count - 16) * 65536 + unsigned(16);
    if (count === 0) return 0;
    const value = window() >>> (32 - count);
    pass(count);
    return value;
  }

  return {
    unsigned,
    signed(count) {
      const value = unsigned(count);
      return value >= 2 ** (count - 1) && count > 0 ? value - 2 ** count : value;
    },
    zeros() {
      for (let zeros = 0; ; ) {
        const word = window();
        if (word !== 0) {
          const more = Math.clz32(word);
          pass(more + 1);
          return zeros + more;
        }
        const seen = 32 - passed;
        pass(seen);
        zeros += seen;
      }
    },
    align() {
      if (passed > 0) pass(8 - passed);
      return at;
    },
  };
}
