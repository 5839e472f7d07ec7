/**
 * The prediction cache: predictions that are kept for equal jobs, where callers ask for it.
 *
 * Two jobs are equal when their tenant, their version and its files, and their input are the same, byte by byte. Predictions
 * are kept apart from the job that computed them, for as long as that job said, and only where they are complete and small
 * enough for a record. A version keeps `MAX_KEPT` of them.
 */
import { createHash } from 'node:crypto';
import { type JobSpec, MAX_CACHE_SECONDS, type Submit } from '../../contract/job.js';
import type { Manifest } from '../../contract/models/manifest.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { loadScript } from '../../redis/load-script.js';
import { MAX_INLINE_BYTES } from './payloads.js';

/** The most predictions that are kept of a version, of 32 KiB each at most. */
export const MAX_KEPT = 10_000;
const DROPPED_AT_ONCE = 500;

export type PredictionCache = ReturnType<typeof createPredictionCache>;

/** Returns the prediction cache. */
export function createPredictionCache({ redis, keys }: { redis: Redis; keys: Keys }) {
  // It must not be overtaken by the end of the job, which travels alone: who hears of the end finds the predictions.
  const keepPredictions = loadScript(redis, 'keep-predictions', { isAlone: true });
  const cacheKey = ({ tenant, model, version }: JobSpec, hash: string) =>
    keys.cachedPredictions(tenant, model, version, hash);

  return {
    /** Forgets what is kept of a version that is gone. */
    async drop(model: string, version: number): Promise<void> {
      const answersKey = keys.answers(model, version);
      for (;;) {
        const kept = await redis.zrange(answersKey, 0, String(DROPPED_AT_ONCE - 1));
        if (kept.length === 0) return;
        await redis.unlink(kept);
        await redis.zrem(answersKey, ...kept);
      }
    },

    /** Returns the packed predictions of an equal job; null when none are kept or the job does not ask for them. */
    async find(spec: JobSpec): Promise<Buffer | null> {
      return spec.cache ? redis.getBuffer(cacheKey(spec, spec.cache.hash)) : null;
    },

    /** Keeps the packed predictions of a job that asks for it. */
    async keep(spec: JobSpec, output: Buffer): Promise<void> {
      if (!spec.cache || output.length > MAX_INLINE_BYTES) return;
      const { model, version } = spec;
      await keepPredictions({
        cachedKey: cacheKey(spec, spec.cache.hash),
        answersKey: keys.answers(model, version),
        modelKey: keys.model(model),
        numbersKey: keys.versionNumbers,
        model,
        version,
        output,
        seconds: spec.cache.seconds,
        maxKept: MAX_KEPT,
        maxSeconds: MAX_CACHE_SECONDS,
      });
    },
  };
}

/**
 * Returns the SHA-256, in hex, of packed instances under a manifest, whose files decide what is computed and whose signature
 * decides how it is presented, and of what the job selects of it.
 */
export function hashOfInput(
  { files, signature, signatures }: Manifest,
  input: Buffer,
  { signatureName, outputs }: Pick<Submit, 'signatureName' | 'outputs'> = {},
): string {
  return createHash('sha256')
    .update(JSON.stringify([files, signature, signatures, signatureName, outputs]))
    .update(input)
    .digest('hex');
}
