/**
 * Canaries: upkeep looks at each and rolls it back when it does worse than the version beside it.
 *
 * A rollback is one compare-and-set, so that a canary that was moved or begun anew meanwhile is judged by its own jobs.
 */
import { type Clock, toTimestamp } from '../../base/clock.js';
import type { Canary } from '../../contract/models/canary.js';
import { testCanary } from '../../contract/models/canary-test.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import type { VersionOutcomesStore } from './version-outcomes.js';

export interface RolledBack extends Canary {
  model: string;
  alias: string;
}

export type Canaries = ReturnType<typeof createCanaries>;

export interface CanariesDeps {
  redis: Redis;
  keys: Keys;
  clock: Clock;
  outcomes: Pick<VersionOutcomesStore, 'read'>;
}

/** Returns the judge of canaries. */
export function createCanaries({ redis, keys, clock, outcomes }: CanariesDeps) {
  const rollBackCanary = loadScript(redis, 'roll-back-canary');

  /** Judges all canaries; returns those that it rolled back. */
  async function tend(): Promise<RolledBack[]> {
    const members = await redis.smembers(keys.canaries);
    const looked = await Promise.all(members.map(look));
    return looked.filter((each) => each !== null);
  }

  async function look(member: string): Promise<RolledBack | null> {
    const [model = '', alias = ''] = member.split('@');
    const [text, stable] = await redis.hmget(keys.model(model), `canary:${alias}`, `alias:${alias}`);
    if (!text) return null;
    const canary = JSON.parse(text) as Canary;
    const [own, other] = await Promise.all([
      outcomes.read(model, canary.version),
      outcomes.read(model, Number(stable)),
    ]);
    const reason = testCanary(canary, own, other);
    if (reason === null) return null;
    const ended: Canary = { ...canary, state: 'rolled_back', reason, endedAt: toTimestamp(clock.now()) };
    const isDone = await rollBackCanary({
      modelKey: keys.model(model),
      canariesKey: keys.canaries,
      alias,
      judged: text,
      rolledBack: JSON.stringify(ended),
      canaryMember: member,
    });
    return isDone === 1 ? { ...ended, model, alias } : null;
  }

  return { tend };
}
