/**
 * Memory for models: which versions are loaded at a time, within a budget of bytes.
 *
 *   loaded <-> evicted        used while evicted: loaded again, after the least recently used others have made room
 *
 * Promises: the bytes of what is loaded never exceed the budget; what computes is never evicted, but waited for; a version
 * that was loaded stays for `MIN_STAY_MS` at least, so that two busy ones which do not fit together take turns instead of
 * evicting each other at every batch; uses that wait are served in their order.
 */
import { type Clock, sleep } from '../../../shared/base/clock.js';

export interface Contents {
  /** Counted while it is loaded. */
  bytes: number;
  load(): Promise<void>;
  /** Only called while nothing uses it. */
  unload(): Promise<void>;
}

export interface Room {
  readonly isLoaded: boolean;
  /**
   * Acts while it is loaded. Rejects when it cannot be loaded, or when the memory is closed meanwhile. `onWanted`: others
   * wait for its room.
   */
  use<T>(act: () => Promise<T>, onWanted?: () => void): Promise<T>;
  /** Unloads it once nothing uses it; there are no uses after that. */
  free(): Promise<void>;
}

export interface Memory {
  open(contents: Contents): Room;
  /** Bytes of what is loaded. */
  readonly bytes: number;
  close(): void;
}

interface Use {
  onWanted: (() => void) | undefined;
}

interface Held extends Contents {
  isLoaded: boolean;
  uses: Set<Use>;
  /** Of all uses the number of its last one. */
  lastUse: number;
  loadedMs: number;
  onIdle: (() => void) | null;
}

export const MIN_STAY_MS = 1000;

/** `maxBytes` 0: no budget, everything stays. */
export function createMemory(maxBytes: number, clock: Clock): Memory {
  const loaded = new Set<Held>();
  const closing = new AbortController();
  let turn: Promise<unknown> = Promise.resolve();
  let uses = 0;

  function inTurn(act: () => Promise<void>): Promise<void> {
    const result = turn.then(act);
    turn = result.catch(() => undefined);
    return result;
  }

  const bytesLoaded = () => [...loaded].reduce((sum, { bytes }) => sum + bytes, 0);

  async function load(held: Held): Promise<void> {
    if (held.isLoaded) return;
    while (maxBytes > 0 && loaded.size > 0 && bytesLoaded() + held.bytes > maxBytes) {
      const [oldest] = [...loaded].sort((a, b) => a.lastUse - b.lastUse) as [Held];
      await sleep(clock, oldest.loadedMs + MIN_STAY_MS - clock.monotonic(), closing.signal);
      await evict(oldest);
    }
    closing.signal.throwIfAborted();
    await held.load();
    held.loadedMs = clock.monotonic();
    held.isLoaded = true;
    loaded.add(held);
  }

  async function evict(held: Held): Promise<void> {
    if (!held.isLoaded) return;
    // Uses from now on wait for their turn.
    held.isLoaded = false;
    const idle = new Promise<void>((resolve) => {
      held.onIdle = resolve;
    });
    for (const { onWanted } of held.uses) onWanted?.();
    if (held.uses.size > 0) await idle;
    held.onIdle = null;
    try {
      await held.unload();
    } finally {
      loaded.delete(held);
    }
  }

  async function use<T>(held: Held, act: () => Promise<T>, onWanted?: () => void): Promise<T> {
    while (!held.isLoaded) await inTurn(() => load(held));
    const use = { onWanted };
    held.uses.add(use);
    held.lastUse = ++uses;
    try {
      return await act();
    } finally {
      held.uses.delete(use);
      if (held.uses.size === 0) held.onIdle?.();
    }
  }

  return {
    open(contents) {
      const held: Held = {
        ...contents,
        isLoaded: false,
        uses: new Set(),
        lastUse: 0,
        loadedMs: 0,
        onIdle: null,
      };
      return {
        get isLoaded() {
          return held.isLoaded;
        },
        use: (act, onWanted) => use(held, act, onWanted),
        free: () => inTurn(() => evict(held)),
      };
    },
    get bytes() {
      return bytesLoaded();
    },
    close: () => closing.abort(new Error('The memory is closed.')),
  };
}
