/**
 * The scripts that move a job between states. Nothing else writes a record's `status`.
 *
 * Each is one atomic step with a compare-and-set in front, and takes the time from Redis, so that no worker's clock
 * decides. Replies of numbers come as strings.
 */

const NOW = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`;

/** Until a queued record is first looked at by upkeep, which repairs an `add` that was lost after the record was written. */
export const CHECK_ADDED_AFTER_MS = 10_000;
/** How often a running record is checked for a transport that lost it. */
export const CHECK_RUNNING_MS = 60_000;

/**
 * KEYS job, waiting, agenda, tenant's jobs, queued by tenant, idempotency
 * ARGV 1 id, 2 tenant, 3 spec, 4 input, 5 ttlMs, 6 priority rank, 7 events (",job.failed," or ""), 8 most queued per tenant,
 *      9 most queued per model, 10 fingerprint ("" = no Idempotency-Key), 11 seconds an Idempotency-Key is kept,
 *      12 version
 * Reply {created, now} | {replayed, id} | {mismatch} | {tenant_full} | {model_full, queued}
 */
export const SUBMIT = `
if ARGV[10] ~= '' then
  local known = redis.call('HMGET', KEYS[6], 'fingerprint', 'job')
  if known[1] then
    if known[1] ~= ARGV[10] then return {'mismatch'} end
    return {'replayed', known[2]}
  end
end
if tonumber(redis.call('HGET', KEYS[5], ARGV[2]) or '0') >= tonumber(ARGV[8]) then return {'tenant_full'} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[9]) then return {'model_full'} end
${NOW}
local expires = now + tonumber(ARGV[5])
redis.call('HSET', KEYS[1], 'status', 'queued', 'tenant', ARGV[2], 'version', ARGV[12], 'spec', ARGV[3], 'input', ARGV[4], 'events', ARGV[7],
  'createdAt', now, 'expiresAt', expires, 'attempts', 0, 'starts', 0)
redis.call('ZADD', KEYS[2], ARGV[6] * 1e13 + now, ARGV[1])
redis.call('ZADD', KEYS[3], math.min(now + ${CHECK_ADDED_AFTER_MS}, expires), ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[1])
redis.call('HINCRBY', KEYS[5], ARGV[2], 1)
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[6], 'fingerprint', ARGV[10], 'job', ARGV[1])
  redis.call('EXPIRE', KEYS[6], ARGV[11])
end
return {'created', tostring(now)}
`;

/**
 * KEYS job, waiting, agenda, queued by tenant
 * ARGV 1 id, 2 most starts, 3 versions that the caller can run (",1,2,")
 * Reply {started, fencing token, spec, input} | {skip, why}: gone, expired, not_loaded, lost (started too often), or a
 *       terminal status
 *
 * A job that is already running was left behind by a worker that died or lost its lock: it is started again under a new
 * token, which makes the old execution's result void. That costs no attempt.
 */
export const START = `
local r = redis.call('HMGET', KEYS[1], 'status', 'expiresAt', 'tenant', 'spec', 'input', 'version')
if not r[1] then return {'skip', 'gone'} end
if r[1] ~= 'queued' and r[1] ~= 'running' then return {'skip', r[1]} end
${NOW}
if r[1] == 'queued' and now >= tonumber(r[2]) then return {'skip', 'expired'} end
if not string.find(ARGV[3], ',' .. r[6] .. ',', 1, true) then return {'skip', 'not_loaded'} end
local token = redis.call('HINCRBY', KEYS[1], 'starts', 1)
if token > tonumber(ARGV[2]) then return {'skip', 'lost'} end
if r[1] == 'queued' then
  redis.call('HSET', KEYS[1], 'status', 'running', 'startedAt', now)
  redis.call('HINCRBY', KEYS[1], 'attempts', 1)
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HINCRBY', KEYS[4], r[3], -1)
end
redis.call('ZADD', KEYS[3], now + ${CHECK_RUNNING_MS}, ARGV[1])
return {'started', tostring(token), r[4], r[5]}
`;

/**
 * KEYS job, waiting, agenda, queued by tenant, outbox
 * ARGV 1 id, 2 terminal status, 3 states it may come from (",queued,running,"), 4 fencing token ("" = any), 5 end,
 *      6 output ("" = none), 7 seconds kept, 8 event id, 9 channel
 * Reply {settled} | {refused, present status or "gone"}
 */
export const SETTLE = `
local r = redis.call('HMGET', KEYS[1], 'status', 'starts', 'tenant', 'events')
if not r[1] then return {'refused', 'gone'} end
if not string.find(ARGV[3], ',' .. r[1] .. ',', 1, true) then return {'refused', r[1]} end
if ARGV[4] ~= '' and ARGV[4] ~= r[2] then return {'refused', r[1]} end
${NOW}
local deleted = now + ARGV[7] * 1000
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'finishedAt', now, 'deletedAfter', deleted, 'end', ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'output', ARGV[6]) end
redis.call('PEXPIREAT', KEYS[1], deleted + 3600000)
redis.call('ZADD', KEYS[3], deleted, ARGV[1])
if r[1] == 'queued' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HINCRBY', KEYS[4], r[3], -1)
end
if string.find(r[4], ',job.' .. ARGV[2] .. ',', 1, true) then
  redis.call('XADD', KEYS[5], '*', 'id', ARGV[8], 'type', 'job.' .. ARGV[2], 'job', ARGV[1], 'at', now)
end
redis.call('PUBLISH', ARGV[9], ARGV[1])
return {'settled'}
`;
