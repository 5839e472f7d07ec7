/**
 * Whose turn it is: attempts at once to one origin are bounded, so that a receiver which hangs leaves room for the others.
 *
 * Who finds an origin busy comes back later; the more were turned away since an attempt to it ended, the later, so that a
 * thousand waiting for a hanging receiver do not ask all the time, and a receiver that answers gets them soon.
 */
export interface Turns {
  /** Null: go, and call `end` afterwards. Else: come back after so many milliseconds. */
  take(origin: string): number | null;
  end(origin: string): void;
}

const STEP_MS = 100;
/** As long as an attempt takes at most. */
const LONGEST_MS = 15_000;

export function createTurns(perOrigin: number): Turns {
  const origins = new Map<string, { underWay: number; turnedAway: number }>();

  return {
    take(origin) {
      const known = origins.get(origin) ?? { underWay: 0, turnedAway: 0 };
      origins.set(origin, known);
      if (known.underWay >= perOrigin) return Math.min(++known.turnedAway * STEP_MS, LONGEST_MS);
      known.underWay++;
      return null;
    },
    end(origin) {
      const known = origins.get(origin);
      if (!known) return;
      known.turnedAway = 0;
      if (--known.underWay === 0) origins.delete(origin);
    },
  };
}
