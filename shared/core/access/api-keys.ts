/**
 * API keys: which key belongs to which tenant. A key is stored as its SHA-256, never as itself.
 */
import { LRUCache } from 'lru-cache';
import { type Clock, toTimestamp } from '../../base/clock.js';
import { hashApiKey, isApiKey, type Principal } from '../../contract/access.js';
import { newId } from '../../contract/ids.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

/** For so long a process may still accept a key that was revoked elsewhere. */
const CACHE_MS = 5000;
const CACHE_SIZE = 10_000;

export type ApiKeys = ReturnType<typeof createApiKeys>;

/** Returns the store of API keys. */
export function createApiKeys({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  const cache = new LRUCache<string, Principal>({ max: CACHE_SIZE, ttl: CACHE_MS });

  return {
    /** Makes `key` valid for `tenant`. A key that exists keeps its id. */
    async addKey(key: string, tenant: string, scopes: Principal['scopes']): Promise<void> {
      const hashKey = keys.apiKey(hashApiKey(key));
      await redis.hsetnx(hashKey, 'id', newId('key', clock.now()));
      await redis.hsetnx(hashKey, 'createdAt', toTimestamp(clock.now()));
      await redis.hset(hashKey, { tenant, scopes: scopes.join(' ') });
    },

    /** Returns who holds `key`; null when nobody does. Only keys that exist are cached. */
    async authenticate(key: string): Promise<Principal | null> {
      if (!isApiKey(key)) return null;
      const hash = hashApiKey(key);
      const known = cache.get(hash);
      if (known) return known;
      const { id, tenant, scopes } = await redis.hgetall(keys.apiKey(hash));
      if (!id || !tenant) return null;
      const principal: Principal = {
        keyId: id,
        tenant,
        scopes: (scopes ?? '').split(' ') as Principal['scopes'],
      };
      cache.set(hash, principal);
      return principal;
    },
  };
}
