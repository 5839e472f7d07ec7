/**
 * The versions that a worker serves, each with its consumer; they come and go while the others go on.
 *
 * A version serves only after a child has verified, loaded and warmed it up; one that fails is reported and left out. With
 * `SLUICE_BACKEND=auto` versions then move to the backend that is fastest for them (placing.ts). Lanes are loaded, unloaded
 * and closed by one at a time, so that none is closed which another version is just placed on.
 */
import { messageOf } from '../../shared/base/errors.js';
import type { Logger } from '../../shared/base/telemetry.js';
import type { Manifest } from '../../shared/contract/model.js';
import type { Models } from '../../shared/core/models.js';
import type { Consumer } from './consumer.js';
import type { Lanes } from './lanes.js';
import { NotHere, type Placement, type Placing } from './placing.js';
import { createServing, type Serving } from './serving.js';

export interface ServedDeps {
  lanes: Lanes;
  placing: Placing;
  models: Models;
  log: Logger;
  startConsumer(manifest: Manifest, serving: Serving): Consumer;
}

interface Served {
  folder: string;
  manifest: Manifest;
  placement: Placement;
  serving: Serving;
  consumer: Consumer;
}

export type ServedVersions = ReturnType<typeof createServedVersions>;

export function createServedVersions({ lanes, placing, models, log, startConsumer }: ServedDeps) {
  const served = new Map<string, Served>();
  /** Versions that cannot be served here. */
  const refused = new Set<string>();
  let closing = false;
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = turn.then(act);
    turn = result.catch(() => undefined);
    return result;
  }

  /** False when it cannot be served here, which was reported. Rejects when the report cannot be written. */
  function add(folder: string, manifest: Manifest): Promise<boolean> {
    return inTurn(async () => {
      const { name, version } = manifest;
      if (closing || served.has(keyOf(name, version))) return true;
      await models.report(name, version, 'loading');
      try {
        const placement = await placing.place(folder, manifest);
        if (closing) return false;
        await reportReady(manifest, placement);
        const serving = createServing(manifest, placement.lane);
        const consumer = startConsumer(manifest, serving);
        served.set(keyOf(name, version), { folder, manifest, placement, serving, consumer });
        return true;
      } catch (error) {
        // The child that should have loaded it was told to end.
        if (!closing) await reportUnserved(manifest, error);
        refused.add(keyOf(name, version));
        return false;
      }
    });
  }

  /** Gives back what was not begun, and frees what the version holds. */
  function remove(name: string, version: number): Promise<void> {
    return inTurn(async () => {
      const each = served.get(keyOf(name, version));
      if (!each || closing) return;
      served.delete(keyOf(name, version));
      await each.consumer.close();
      await each.serving.lane.unload(each.manifest);
      log.info({ model: name, version }, 'version removed');
    });
  }

  /** Versions to the backends that are fastest for them, one after the other; then what nobody needs is closed. */
  async function settle(): Promise<void> {
    for (const each of [...served.values()])
      if (placing.isOpen(each.manifest)) await inTurn(() => settleOne(each));
    await inTurn(async () => {
      const inUse = new Set([...served.values()].map(({ serving }) => serving.lane));
      if (!closing && inUse.size > 0) await lanes.closeUnused((lane) => inUse.has(lane));
    });
  }

  async function settleOne(each: Served): Promise<void> {
    const { folder, manifest, placement, serving } = each;
    if (closing || served.get(keyOf(manifest.name, manifest.version)) !== each) return;
    const best = await placing.compare(folder, manifest, placement);
    // Lanes that close lose every comparison.
    if (closing) return;
    placing.remember(manifest, best);
    await serving.move(best.lane);
    await reportReady(manifest, best);
  }

  /** A version that this worker cannot run waits for one that can; its jobs do, too. */
  async function reportUnserved({ name, version }: Manifest, error: unknown): Promise<void> {
    const isElsewhere = error instanceof NotHere;
    await models.report(name, version, isElsewhere ? 'pending' : 'failed', { error: messageOf(error) });
    if (isElsewhere) log.info({ model: name, version, why: error.message }, 'version left to other workers');
    else log.error({ err: error, model: name, version }, 'version failed');
  }

  async function reportReady(
    { name, version }: Manifest,
    { lane, report, comparison }: Placement,
  ): Promise<void> {
    const backend = lane.backend.name;
    const metrics = { ...report, ...(comparison && { comparison }) };
    await models.report(name, version, 'ready', { backend, metrics });
    log.info({ model: name, version, backend, ...metrics }, 'version ready');
  }

  return {
    add,
    remove,
    settle,
    has: (name: string, version: number) => served.has(keyOf(name, version)),
    /** It was tried, and another try would end as that one did. */
    isRefused: (name: string, version: number) => refused.has(keyOf(name, version)),
    async close(): Promise<void> {
      closing = true;
      await Promise.all([...served.values()].map(({ consumer }) => consumer.close()));
      await lanes.close();
    },
  };
}

function keyOf(name: string, version: number): string {
  return `${name}@${version}`;
}
