/**
 * Answers: predictions kept for equal jobs, for callers who ask for it.
 *
 * An answer is that of one tenant, one version as it was checked, and one input, byte by byte. It is kept apart from the job
 * that computed it, for as long as that job said, and only where it is whole and small enough for a record.
 */
import { createHash } from 'node:crypto';
import type { JobSpec } from '../../contract/job.js';
import type { Manifest } from '../../contract/models/manifest.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';
import { MAX_INLINE_BYTES } from './payloads.js';

export type PredictionCache = ReturnType<typeof createPredictionCache>;

export function createPredictionCache({ redis, keys }: { redis: Redis; keys: Keys }) {
  const cacheKey = ({ tenant, model, version }: JobSpec, hash: string) =>
    keys.cachedPredictions(tenant, model, version, hash);

  return {
    /** Packed predictions, null when none are kept or none are asked for. */
    async find(spec: JobSpec): Promise<Buffer | null> {
      return spec.cache ? redis.getBuffer(cacheKey(spec, spec.cache.hash)) : null;
    },

    async keep(spec: JobSpec, output: Buffer): Promise<void> {
      if (!spec.cache || output.length > MAX_INLINE_BYTES) return;
      await redis.set(cacheKey(spec, spec.cache.hash), output, 'EX', spec.cache.seconds);
    },
  };
}

/** Of packed instances, under a manifest: its files decide what is computed, its signature what is made of it. */
export function hashOfInput({ files, signature }: Manifest, input: Buffer): string {
  return createHash('sha256')
    .update(JSON.stringify([files, signature]))
    .update(input)
    .digest('hex');
}
