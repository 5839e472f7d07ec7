/**
 * Backend moves: versions move to the backend that is fastest for them, one after the other.
 *
 *   served, not compared -> (it has nothing to do) compared in children of the comparison -> moved, or left where it is
 *
 * Promises:
 *   - No version waits for the comparison of another, neither to be loaded nor to serve.
 *   - A version is compared once in the life of a worker, and its result is kept for later ones unless a child died.
 *   - When a version has moved, pools without versions are closed.
 */
import type { LimitFunction } from 'p-limit';
import type { Clock } from '../../../shared/base/clock.js';
import type { Manifest } from '../../../shared/contract/models/manifest.js';
import type { TicketConsumer } from '../consumer/ticket-consumer.js';
import type { BackendSelection, Compared, SelectedPool } from './backend-selection.js';
import type { VersionRoute } from './version-route.js';

/** A version that serves. */
export interface MovableVersion {
  folder: string;
  manifest: Manifest;
  /** Where it was loaded first. */
  selected: SelectedPool;
  route: VersionRoute;
  consumer: Pick<TicketConsumer, 'poolChanged'>;
}

export interface BackendMovesDeps {
  /** Returns the versions that serve now. */
  versions: () => Iterable<MovableVersion>;
  selection: BackendSelection;
  /** Pools are opened and closed in turn. */
  inTurn: LimitFunction;
  closeUnusedPools: () => Promise<void>;
  /** The version has been compared and serves from this pool. */
  onCompared: (manifest: Manifest, selected: SelectedPool) => Promise<void>;
  clock: Clock;
  onError: (kind: string, error: unknown) => void;
}

export interface BackendMoves {
  /** Ends a comparison that is under way. */
  close(): void;
}

const PERIOD_MS = 500;

/** Starts to look for a version to compare, twice a second until it is closed. */
export function startBackendMoves(deps: BackendMovesDeps): BackendMoves {
  const { versions, selection, inTurn, closeUnusedPools, onCompared, clock, onError } = deps;
  const closing = new AbortController();
  const compared = new WeakSet<MovableVersion>();
  let isComparing = false;

  async function compareNext(): Promise<void> {
    for (const each of versions()) {
      if (compared.has(each) || !each.route.isIdle || !selection.isOpen(each.manifest)) continue;
      compared.add(each);
      await move(each, await selection.compare(each.folder, each.manifest, each.selected, closing.signal));
      await inTurn(closeUnusedPools);
      return;
    }
  }

  async function move(each: MovableVersion, result: Compared): Promise<void> {
    const { folder, manifest, selected, route, consumer } = each;
    if (![...versions()].includes(each)) return;
    await route.whileLoaded(async () => {
      const { fastest, moved } = await inTurn(async () => {
        const fastest = await selection.selectFastest(folder, manifest, selected, result);
        return { fastest, moved: route.move(fastest.pool) };
      });
      consumer.poolChanged();
      if (result.isFinal) selection.remember(manifest, fastest);
      await moved;
      await onCompared(manifest, fastest);
    });
  }

  const stop = clock.every(PERIOD_MS, () => {
    if (isComparing) return;
    isComparing = true;
    compareNext()
      .catch((error: unknown) => closing.signal.aborted || onError('comparing backends', error))
      .finally(() => {
        isComparing = false;
      });
  });
  return {
    close() {
      stop();
      closing.abort(new Error('The worker closes.'));
    },
  };
}
