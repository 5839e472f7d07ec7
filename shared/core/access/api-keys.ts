/**
 * Access: which API key belongs to whom. Keys are stored as their SHA-256, never as themselves.
 */
import { LRUCache } from 'lru-cache';
import { type Clock, toTimestamp } from '../../base/clock.js';
import { hashApiKey, isApiKey, type Principal } from '../../contract/access.js';
import { newId } from '../../contract/ids.js';
import type { Redis } from '../../redis/connect.js';
import type { Keys } from '../../redis/keys.js';

/** For how long a key that was revoked elsewhere may still be taken. */
const CACHE_MS = 5000;
const CACHE_SIZE = 10_000;

export type ApiKeys = ReturnType<typeof createApiKeys>;

export function createApiKeys({ redis, keys, clock }: { redis: Redis; keys: Keys; clock: Clock }) {
  const cache = new LRUCache<string, Principal>({ max: CACHE_SIZE, ttl: CACHE_MS });

  return {
    /** Makes `key` valid for `tenant`; a key that exists keeps its id. */
    async addKey(key: string, tenant: string, scopes: Principal['scopes']): Promise<void> {
      const hashKey = keys.apiKey(hashApiKey(key));
      await redis.hsetnx(hashKey, 'id', newId('key', clock.now()));
      await redis.hsetnx(hashKey, 'createdAt', toTimestamp(clock.now()));
      await redis.hset(hashKey, { tenant, scopes: scopes.join(' ') });
    },

    /** Who holds `key`; null when nobody does. Only keys that exist are cached. */
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
