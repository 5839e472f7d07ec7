/**
 * The scripts that move a batch between states. Nothing else writes its `status`.
 *
 * Who drives a batch holds its newest token; the scripts of a driver refuse an older one with `lost`.
 */
import { IDEMPOTENCY, TIME } from '../jobs/script-parts.js';

/** How long after its start or the last look an open batch is looked at: was its message lost? */
export const CHECK_BATCH_MS = 10_000;

const HELD = `
local function held(batch, token)
  local r = redis.call('HMGET', batch, 'token', 'status')
  return r[1] == token and (r[2] == 'running' or r[2] == 'canceling')
end
`;

/**
 * KEYS batch, tenant's batches, batches, open batches, idempotency
 * ARGV 1 id, 2 tenant, 3 spec, 4 ttlMs, 5 most open batches of a tenant, 6 fingerprint ("" = no Idempotency-Key),
 *      7 seconds an Idempotency-Key is kept
 * Reply {created} | {replayed, id} | {mismatch} | {too_many}
 */
export const CREATE_BATCH = `${TIME}${IDEMPOTENCY}
local before = used_before(KEYS[5], 'batch', ARGV[6], KEYS[1], ARGV[1])
if before then return before end
-- Sent again after its answer was lost.
if redis.call('EXISTS', KEYS[1]) == 1 then return {'created'} end
if tonumber(redis.call('HGET', KEYS[4], ARGV[2]) or '0') >= tonumber(ARGV[5]) then return {'too_many'} end
local now = time()
redis.call('HSET', KEYS[1], 'status', 'queued', 'spec', ARGV[3], 'createdAt', now, 'expiresAt', now + tonumber(ARGV[4]), 'parts', 0)
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZADD', KEYS[3], now + ${CHECK_BATCH_MS}, ARGV[1])
redis.call('HINCRBY', KEYS[4], ARGV[2], 1)
use(KEYS[5], 'batch', ARGV[6], ARGV[1], ARGV[7])
return {'created'}
`;

/**
 * KEYS batch
 * Reply the status that it has then
 */
export const CANCEL_BATCH = `
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then return status or 'gone' end
redis.call('HSET', KEYS[1], 'status', 'canceling')
return 'canceling'
`;

/**
 * KEYS batch
 * Reply {token, now}; none when it has ended
 */
export const TAKE_BATCH = `${TIME}
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' and status ~= 'canceling' then return {} end
local now = time()
if status == 'queued' then redis.call('HSET', KEYS[1], 'status', 'running') end
redis.call('HSETNX', KEYS[1], 'startedAt', now)
return {tostring(redis.call('HINCRBY', KEYS[1], 'token', 1)), tostring(now)}
`;

/**
 * KEYS batch
 * ARGV 1 token, 2 lines in all, 3 counts
 * Reply go | cancel | expire | lost
 */
export const REPORT_BATCH = `${TIME}${HELD}
if not held(KEYS[1], ARGV[1]) then return 'lost' end
redis.call('HSET', KEYS[1], 'total', ARGV[2], 'counts', ARGV[3])
local r = redis.call('HMGET', KEYS[1], 'status', 'expiresAt')
if r[1] == 'canceling' then return 'cancel' end
return time() >= tonumber(r[2]) and 'expire' or 'go'
`;

/**
 * KEYS batch
 * ARGV 1 token, 2 number of the part, 3 part, 4 counts
 * Reply added | lost
 */
export const ADD_PART = `${HELD}
-- Sent again after its answer was lost. Whoever drives the batch by now has that part, which names its driver.
if redis.call('HGET', KEYS[1], 'part:' .. ARGV[2]) == ARGV[3] then return 'added' end
if not held(KEYS[1], ARGV[1]) or redis.call('HGET', KEYS[1], 'parts') ~= ARGV[2] then return 'lost' end
redis.call('HSET', KEYS[1], 'part:' .. ARGV[2], ARGV[3], 'parts', ARGV[2] + 1, 'counts', ARGV[4], 'doneCounts', ARGV[4])
return 'added'
`;

/**
 * KEYS batch, batches, open batches
 * ARGV 1 token, 2 id, 3 tenant, 4 status, 5 error ("" = none), 6 files, 7 milliseconds that it is kept
 * Reply the status that it ended in | lost
 */
export const FINISH_BATCH = `${TIME}${HELD}
local r = redis.call('HMGET', KEYS[1], 'token', 'finishedAt', 'status')
-- Sent again after its answer was lost.
if r[1] == ARGV[1] and r[2] then return r[3] end
if not held(KEYS[1], ARGV[1]) then return 'lost' end
local now = time()
local status = r[3] == 'canceling' and 'canceled' or ARGV[4]
local deleted = now + tonumber(ARGV[7])
redis.call('HSET', KEYS[1], 'status', status, 'error', ARGV[5], 'files', ARGV[6], 'finishedAt', now, 'deletedAfter', deleted)
redis.call('ZADD', KEYS[2], deleted, ARGV[2])
if redis.call('HINCRBY', KEYS[3], ARGV[3], -1) <= 0 then redis.call('HDEL', KEYS[3], ARGV[3]) end
return status
`;
