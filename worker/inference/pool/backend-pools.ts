/**
 * The lanes of a worker: one for each backend in use, opened when it is first asked for.
 */
import type { BackendName } from '../../backends/backend.js';
import type { Lane } from './backend-pool.js';

export interface Lanes {
  /** That of the configured backend; with `auto` of the first that loads. */
  readonly first: Lane;
  /** Backends that this worker may use, the first lane's before the others. */
  readonly names: readonly BackendName[];
  /** The first of those of its lanes; null when all compute as they should. */
  readonly fault: string | null;
  /** Rejects with the reason why a backend does not load; it is not tried again. */
  of(name: BackendName): Promise<Lane>;
  /** Closes those on which `isUsed` says that nothing runs. */
  closeUnused(isUsed: (lane: Lane) => boolean): Promise<void>;
  /** Closes all; one that is being opened ends with this process. */
  close(): Promise<void>;
}

const ALL: readonly BackendName[] = ['cuda', 'wasm', 'native', 'cpu'];

export async function openLanes(
  configured: BackendName | 'auto',
  openLaneOf: (backend: BackendName | 'auto') => Promise<Lane>,
): Promise<Lanes> {
  const first = await openLaneOf(configured);
  const { name: firstName, refused } = first.backend;
  const open = new Map<BackendName, Lane>([[firstName, first]]);
  const asked = new Map<BackendName, Promise<Lane>>([[firstName, Promise.resolve(first)]]);
  for (const { name, reason } of refused) refuse(name, reason);

  /** Rejects when it is asked for, maybe never. */
  function refuse(name: BackendName, reason: string): void {
    const refusal = Promise.reject<Lane>(new Error(reason));
    refusal.catch(() => undefined);
    asked.set(name, refusal);
  }

  async function start(name: BackendName): Promise<Lane> {
    const lane = await openLaneOf(name);
    open.set(name, lane);
    return lane;
  }

  async function closeWhere(isMeant: (lane: Lane) => boolean): Promise<void> {
    const meant = [...open].filter(([, lane]) => isMeant(lane));
    for (const [name] of meant) {
      open.delete(name);
      asked.delete(name);
    }
    await Promise.all(meant.map(([, lane]) => lane.close()));
  }

  return {
    first,
    names: configured === 'auto' ? [firstName, ...ALL.filter((name) => name !== firstName)] : [firstName],
    get fault() {
      return [...open.values()].map(({ fault }) => fault).find((fault) => fault !== null) ?? null;
    },
    of(name) {
      const lane = asked.get(name) ?? start(name);
      asked.set(name, lane);
      return lane;
    },
    closeUnused: (isUsed) => closeWhere((lane) => !isUsed(lane)),
    close: () => closeWhere(() => true),
  };
}
