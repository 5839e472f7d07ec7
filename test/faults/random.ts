/**
 * Chance that a seed repeats.
 */
export interface Random {
  /** 0 to 1. */
  next(): number;
  between(least: number, most: number): number;
  /** One of them; `weight` says how much more often than another. */
  pick<T>(items: readonly T[], weight?: (item: T) => number): T;
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (least, most) => Math.round(least + (most - least) * next()),
    pick(items, weight = () => 1) {
      let left = next() * items.reduce((sum, item) => sum + weight(item), 0);
      const found = items.find((item) => {
        left -= weight(item);
        return left < 0;
      });
      const picked = found ?? items.at(-1);
      if (picked === undefined) throw new Error('nothing to pick from');
      return picked;
    },
  };
}
