/**
 * The prediction cache: predictions that are kept for equal jobs, where callers ask for it.
 *
 * Two jobs are equal when their tenant, their version and its files, and their input are the same, byte by byte. Predictions
 * are kept apart from the job that computed them, for as long as that job said, and only where they are complete and small
 * enough for a record.
 */
import { createHash } from 'node:crypto';
import type { JobSpec } from '../../contract/job.js';
import type { Manifest } from '../../contract/models/manifest.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { MAX_INLINE_BYTES } from './payloads.js';

export type PredictionCache = ReturnType<typeof createPredictionCache>;

/** Returns the prediction cache. */
export function createPredictionCache({ redis, keys }: { redis: Redis; keys: Keys }) {
  const cacheKey = ({ tenant, model, version }: JobSpec, hash: string) =>
    keys.cachedPredictions(tenant, model, version, hash);

  return {
    /** Returns the packed predictions of an equal job; null when none are kept or the job does not ask for them. */
    async find(spec: JobSpec): Promise<Buffer | null> {
      return spec.cache ? redis.getBuffer(cacheKey(spec, spec.cache.hash)) : null;
    },

    /** Keeps the packed predictions of a job that asks for it. */
    async keep(spec: JobSpec, output: Buffer): Promise<void> {
      if (!spec.cache || output.length > MAX_INLINE_BYTES) return;
      await redis.set(cacheKey(spec, spec.cache.hash), output, 'EX', spec.cache.seconds);
    },
  };
}

/**
 * Returns the SHA-256, in hex, of packed instances under a manifest, whose files decide what is computed and whose signature
 * decides how it is presented.
 */
export function hashOfInput({ files, signature }: Manifest, input: Buffer): string {
  return createHash('sha256')
    .update(JSON.stringify([files, signature]))
    .update(input)
    .digest('hex');
}
