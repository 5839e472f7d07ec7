/**
 * The backend pools of a worker: one for each backend in use, opened when it is first asked for.
 */
import { ConfigError } from '../../../shared/base/config.js';
import type { BackendName } from '../../backends/backend.js';
import type { BackendPool } from './backend-pool.js';

export interface BackendPools {
  /** The pool of the configured backend; with `auto` of the first that loads. */
  readonly first: BackendPool;
  /** The backends that this worker may use, that of the first pool before the others. */
  readonly names: readonly BackendName[];
  /** Returns the fault of the first pool that has one; null when all compute as they should. */
  fault(): string | null;
  /** Resolves with the pool of a backend; rejects with the reason why it does not load, and does not try it again. */
  of(name: BackendName): Promise<BackendPool>;
  /** Closes the pools that are not in use. */
  closeUnused(isUsed: (pool: BackendPool) => boolean): Promise<void>;
  /** Closes all pools; one that is being opened ends with this process. */
  close(): Promise<void>;
}

const ALL: readonly BackendName[] = ['cuda', 'wasm', 'native', 'cpu', 'onnx'];

/**
 * Resolves with the pools once the first one is open.
 * @param configured is the only backend in use; `auto` allows all.
 */
export async function openBackendPools(
  configured: BackendName | 'auto',
  openPool: (backend: BackendName | 'auto') => Promise<BackendPool>,
): Promise<BackendPools> {
  const first = await openPool(configured).catch((error: unknown) => {
    throw configured === 'auto' ? error : refusalOf(configured, error);
  });
  const { name: firstName, refused } = first.backend;
  const open = new Map<BackendName, BackendPool>([[firstName, first]]);
  const requested = new Map<BackendName, Promise<BackendPool>>([[firstName, Promise.resolve(first)]]);
  for (const { name, reason } of refused) refuse(name, reason);

  /** Has requests for the backend reject; there may be none. */
  function refuse(name: BackendName, reason: string): void {
    const refusal = Promise.reject<BackendPool>(new Error(reason));
    refusal.catch(() => undefined);
    requested.set(name, refusal);
  }

  async function start(name: BackendName): Promise<BackendPool> {
    const pool = await openPool(name);
    open.set(name, pool);
    return pool;
  }

  async function closeWhere(isMeant: (pool: BackendPool) => boolean): Promise<void> {
    const meant = [...open].filter(([, pool]) => isMeant(pool));
    for (const [name] of meant) {
      open.delete(name);
      requested.delete(name);
    }
    await Promise.all(meant.map(([, pool]) => pool.close()));
  }

  return {
    first,
    names: configured === 'auto' ? [firstName, ...ALL.filter((name) => name !== firstName)] : [firstName],
    fault: () => [...open.values()].map((pool) => pool.fault()).find((fault) => fault !== null) ?? null,
    of(name) {
      const pool = requested.get(name) ?? start(name);
      requested.set(name, pool);
      return pool;
    },
    closeUnused: (isUsed) => closeWhere((pool) => !isUsed(pool)),
    close: () => closeWhere(() => true),
  };
}

/** Only a backend that the operator chose is a matter of the configuration; others are tried and left aside. */
function refusalOf(configured: BackendName, error: unknown): unknown {
  if (!(error instanceof ConfigError)) return error;
  return new ConfigError(
    `SLUICE_BACKEND=${configured}: ${error.message}\nInstall what it needs, or choose another backend: auto takes the first that works.`,
  );
}
