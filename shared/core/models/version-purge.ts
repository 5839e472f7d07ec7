/**
 * Purges versions: a retired version whose time is over, or a model that is being deleted, gives back all that it holds.
 *
 *   retired -> closed (nothing can begin to use it) -> its blobs, predictions and tickets are gone -> purged: its number stays
 *
 * Promises: what a job or a batch still needs stays until that has ended. Any number of processes may purge at once, and one
 * that dies is followed by another, because each step may be done twice. Versions are found by the time at which they go.
 */
import { versionKey } from '../../contract/models/model-ref.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { redisNow } from '../../redis/redis-time.js';
import type { PredictionCache } from '../jobs/prediction-cache.js';
import type { WakeTickets } from '../queues/wake-tickets.js';
import type { StoredVersion } from './model-record.js';
import type { VersionBlobs } from './version-blobs.js';

export interface VersionPurgeDeps {
  redis: Redis;
  keys: Keys;
  versionBlobs: Pick<VersionBlobs, 'drop'>;
  predictionCache: Pick<PredictionCache, 'drop'>;
  wakeTickets: Pick<WakeTickets, 'drop'>;
}

export type VersionPurge = ReturnType<typeof createVersionPurge>;

/** The most entries that one call looks at. */
const PAGE = 100;
/** Upkeep looks again so long after a version was still needed. */
const AGAIN_MS = 2000;
/** Upkeep looks so long after a purge for what a slow process has brought to the version's queue meanwhile. */
const LATE_MS = 10_000;

/** Returns what purges versions and models. */
export function createVersionPurge(deps: VersionPurgeDeps) {
  const { redis, keys, versionBlobs, predictionCache, wakeTickets } = deps;
  const closeVersion = loadScript(redis, 'close-version');
  const forgetVersion = loadScript(redis, 'forget-version');
  const forgetModel = loadScript(redis, 'forget-model');

  /** Purges what is due, and returns how many versions and models it looked at. What fails is tried again. */
  async function tend(): Promise<number> {
    const now = await redisNow(redis);
    const members = await redis.zrangebyscore(keys.purges, '-inf', now, 'LIMIT', 0, PAGE);
    // A version that is purged leaves the set. The others come again, whatever becomes of this process.
    await Promise.all(members.map((member) => redis.zadd(keys.purges, 'XX', now + AGAIN_MS, member)));
    const ends = await Promise.allSettled(members.map(purgeMember));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
    return members.length;
  }

  function purgeMember(member: string): Promise<boolean> {
    const [name = '', version] = member.split('@');
    return version === undefined ? purgeModel(name) : purgeVersion(name, Number(version));
  }

  /**
   * Purges a retired version; returns false while a job or a batch needs it.
   * @throws {SluiceError} `unavailable`.
   */
  async function purgeVersion(name: string, version: number): Promise<boolean> {
    const modelKey = keys.model(name);
    const member = versionKey(name, version);
    const places = { modelKey, queueKey: keys.queue(name, version), waitingKey: keys.waiting(name, version) };
    const revisionKey = keys.modelsRevision;
    const outcome = await closeVersion({ ...places, revisionKey, purgesKey: keys.purges, version, member });
    if (outcome === 'gone') await wakeTickets.drop(name, version);
    if (outcome !== 'closed') return outcome === 'gone';
    const text = await redis.hget(modelKey, `version:${version}`);
    const stored = text === null ? null : (JSON.parse(text) as StoredVersion);
    if (stored) await versionBlobs.drop(stored);
    await predictionCache.drop(name, version);
    await wakeTickets.drop(name, version);
    await forgetVersion({
      ...places,
      versionOutcomesKey: keys.versionOutcomes(name, version),
      agreementKey: keys.agreement(name, version),
      crashBlocklistKey: keys.crashBlocklist(name, version),
      answersKey: keys.answers(name, version),
      canariesKey: keys.canaries,
      purgesKey: keys.purges,
      version,
      name,
      folder: stored?.blobs ?? '',
      member,
      lookAfterMs: LATE_MS,
    });
    return true;
  }

  /**
   * Purges a model that is being deleted; returns false while a job or a batch needs one of its versions.
   * @throws {SluiceError} `unavailable`.
   */
  async function purgeModel(name: string): Promise<boolean> {
    for (const field of await redis.hkeys(keys.model(name))) {
      const [kind, number] = field.split(':');
      if (kind === 'version' && !(await purgeVersion(name, Number(number)))) return false;
    }
    const isGone = await forgetModel({
      modelKey: keys.model(name),
      modelsKey: keys.models,
      numbersKey: keys.versionNumbers,
      pausedKey: keys.paused,
      queuedKey: keys.queued,
      purgesKey: keys.purges,
      revisionKey: keys.modelsRevision,
      scalingKey: keys.scaling(name),
      name,
    });
    return isGone === 1;
  }

  return { tend, purgeVersion, purgeModel };
}
