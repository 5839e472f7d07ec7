/**
 * Model memory: which versions are loaded at a time, within a budget of bytes.
 *
 *   loaded <-> unloaded        loading waits until the least recently used others have been unloaded
 *
 * Promises:
 *   - The bytes of what is loaded never exceed the budget.
 *   - A version that was loaded stays for `MIN_STAY_MS` at least, so that two busy ones which do not fit together take turns
 *     instead of unloading each other at every batch.
 *   - Loads that wait are served in their order.
 */
import pLimit from 'p-limit';
import { type Clock, sleep } from '../../../shared/base/clock.js';

/** A resident takes memory while it is loaded. */
export interface Resident {
  readonly bytes: number;
  load(): Promise<void>;
  /** Waits for what uses it, then frees its memory. It counts as not loaded from the call on. */
  unload(): Promise<void>;
}

export interface ModelMemory {
  /** Loads it once there is memory for it. Rejects when it cannot be loaded, or when the memory is closed meanwhile. */
  load(resident: Resident): Promise<void>;
  /** Unloads it, to make no further claim on memory. */
  unload(resident: Resident): Promise<void>;
  isLoaded(resident: Resident): boolean;
  /** Notes that it is used now, by which the least recently used is found. */
  touch(resident: Resident): void;
  /** How many bytes are taken. */
  readonly bytes: number;
  /** The budget in bytes; 0 means that there is none. */
  readonly maxBytes: number;
  close(): void;
}

interface Stay {
  /** False while it is being unloaded. */
  isLoaded: boolean;
  sinceMs: number;
  /** The number of its last use, of all uses. */
  lastUse: number;
}

export const MIN_STAY_MS = 1000;

/** Returns a memory of `maxBytes` bytes; 0 means that there is no budget and everything stays. */
export function createModelMemory(maxBytes: number, clock: Clock): ModelMemory {
  const stays = new Map<Resident, Stay>();
  const closing = new AbortController();
  const inTurn = pLimit(1);
  let uses = 0;

  const bytesTaken = () => [...stays.keys()].reduce((sum, { bytes }) => sum + bytes, 0);

  async function load(resident: Resident): Promise<void> {
    if (stays.has(resident)) return;
    while (maxBytes > 0 && stays.size > 0 && bytesTaken() + resident.bytes > maxBytes) await evictOldest();
    closing.signal.throwIfAborted();
    await resident.load();
    stays.set(resident, { isLoaded: true, sinceMs: clock.monotonic(), lastUse: ++uses });
  }

  async function evictOldest(): Promise<void> {
    const [oldest] = [...stays].sort(([, a], [, b]) => a.lastUse - b.lastUse) as [[Resident, Stay]];
    const [resident, { sinceMs }] = oldest;
    await sleep(clock, sinceMs + MIN_STAY_MS - clock.monotonic(), closing.signal);
    await unload(resident);
  }

  async function unload(resident: Resident): Promise<void> {
    const stay = stays.get(resident);
    if (!stay) return;
    stay.isLoaded = false;
    try {
      await resident.unload();
    } finally {
      stays.delete(resident);
    }
  }

  return {
    load: (resident) => inTurn(() => load(resident)),
    unload: (resident) => inTurn(() => unload(resident)),
    isLoaded: (resident) => stays.get(resident)?.isLoaded === true,
    touch(resident) {
      const stay = stays.get(resident);
      if (stay) stay.lastUse = ++uses;
    },
    get bytes() {
      return bytesTaken();
    },
    maxBytes,
    close: () => closing.abort(new Error('The model memory is closed.')),
  };
}
