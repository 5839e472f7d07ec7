-- Writes a new batch, unless its version is closed or its tenant has too many open ones.
--
-- Reply {created}, also to a call that created it and did not hear so; {replayed, id} | {mismatch} | {too_many} |
--       {retired | purged | deleted}

--- @include "redis-time"
--- @include "idempotency"
--- @include "version-gate"
--- @include "version-uses"

local batchKey = KEYS[1] -- hash: the record of the batch
local tenantBatchesKey = KEYS[2] -- sorted set: the tenant's batches
local batchesKey = KEYS[3] -- sorted set: batches by the time at which upkeep looks at them next
local openBatchesKey = KEYS[4] -- hash: number of open batches by tenant
local idempotencyKey = KEYS[5] -- hash: the Idempotency-Key; the record without one
local queueKey = KEYS[6] -- hash: state of the version's queue
local modelKey = KEYS[7] -- hash: versions, their states, aliases
local numbersKey = KEYS[8] -- hash: the highest version number of each model that was deleted
local id = ARGV[1]
local tenant = ARGV[2]
local spec = ARGV[3] -- JSON
local ttlMs = ARGV[4]
local maxOpen = ARGV[5] -- batches of a tenant
local fingerprint = ARGV[6] -- of the body, "" without an Idempotency-Key
local idempotencySeconds = ARGV[7]
local checkAfterMs = ARGV[8] -- upkeep first looks at the batch after this time
local model = ARGV[9]
local version = ARGV[10]

local used = usedBefore(idempotencyKey, 'batch', fingerprint, batchKey, id)
if used then return used end
if redis.call('EXISTS', batchKey) == 1 then return {'created'} end
local closed = closedBy(modelKey, numbersKey, model, version, false)
if closed then return {closed} end
if tonumber(redis.call('HGET', openBatchesKey, tenant) or '0') >= tonumber(maxOpen) then return {'too_many'} end
local now = redisTime()
redis.call('HSET', batchKey, 'status', 'queued', 'spec', spec, 'createdAt', now, 'expiresAt', now + tonumber(ttlMs), 'parts', 0)
redis.call('ZADD', tenantBatchesKey, 0, id)
redis.call('ZADD', batchesKey, now + tonumber(checkAfterMs), id)
redis.call('HINCRBY', openBatchesKey, tenant, 1)
local queue = openHash(queueKey)
countUses(queue, 1)
queue.close()
useKey(idempotencyKey, 'batch', fingerprint, id, idempotencySeconds)
return {'created'}
