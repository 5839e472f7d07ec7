/**
 * API keys besides the one that a stack starts with: of another tenant, or with fewer scopes.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../../shared/base/clock.js';
import type { Principal } from '../../shared/contract/access.js';
import { createApiKeys } from '../../shared/core/access/api-keys.js';
import { openRedis } from '../../shared/redis/connect.js';
import { createKeys } from '../../shared/redis/keys.js';

/** Resolves to a new key of `tenant` with these scopes. */
export async function addedKey(
  redisUrl: string,
  prefix: string,
  tenant: string,
  scopes: Principal['scopes'],
): Promise<string> {
  const key = `slk_${randomBytes(16).toString('hex')}`;
  const redis = await openRedis(redisUrl, 'work', () => undefined);
  await createApiKeys({ redis, keys: createKeys(prefix), clock: systemClock }).addKey(key, tenant, scopes);
  redis.disconnect();
  return key;
}
