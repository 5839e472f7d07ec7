-- Writes a new job into its queue, unless its version is closed, or its tenant or its model has too many queued jobs.
--
-- A client of Redis sends a command again when a broken connection left it unanswered. So this may run twice for one submit,
-- the second time when the job has ended long since: a record that exists stays as it is, and the ticket that is out is handed
-- over once more.
--
-- Reply {created, now, ticket to hand over or ""} | {replayed, id} | {mismatch} |
--       {retired | purged | deleted} | {tenant_full | model_full, jobs queued by the tenant, by the model, jobs started, in how many busy milliseconds}

--- @include "redis-time"
--- @include "idempotency"
--- @include "wake-ticket"
--- @include "queue-place"
--- @include "count-queued"
--- @include "version-gate"
--- @include "version-uses"

local jobKey = KEYS[1] -- hash: the record of the job
local waitingKey = KEYS[2] -- sorted set: queued jobs of the version, in starting order
local dueIndexKey = KEYS[3] -- sorted set: records by the time at which upkeep looks at them next
local tenantJobsKey = KEYS[4] -- sorted set: the tenant's jobs
local queuedKey = KEYS[5] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local queueKey = KEYS[6] -- hash: state of the version's queue
local pausedKey = KEYS[7] -- hash: models of which no job is started
local idempotencyKey = KEYS[8] -- hash: the Idempotency-Key; the record without one
local modelKey = KEYS[9] -- hash: versions, their states, aliases
local numbersKey = KEYS[10] -- hash: the highest version number of each model that was deleted
local id = ARGV[1]
local tenant = ARGV[2]
local model = ARGV[3]
local spec = ARGV[4] -- JSON
local input = ARGV[5] -- packed instances, "" when they are in a blob
local instances = ARGV[6]
local cost = ARGV[7] -- instances / the tenant's weight
local ttlMs = ARGV[8]
local rank = ARGV[9] -- of the priority, 0 starts first
local events = ARGV[10] -- of the job's own webhook, ",job.failed," or ""
local maxTenantJobs = ARGV[11] -- queued
local maxTenantBytes = ARGV[12]
local maxModelJobs = ARGV[13] -- queued
local maxModelBytes = ARGV[14]
local fingerprint = ARGV[15] -- of the body, "" without an Idempotency-Key
local idempotencySeconds = ARGV[16]
local bytes = ARGV[17] -- of the input, wherever it is
local keptSeconds = ARGV[18] -- after its end
local checkAfterMs = ARGV[19] -- upkeep first looks at the record then, and repairs a ticket that was lost
local keyHolds = ARGV[20] -- 1: the Idempotency-Key makes no second job although the first is gone
local version = ARGV[21]
local isLine = ARGV[22] -- "1" for a line of a batch

local used = usedBefore(idempotencyKey, 'job', fingerprint, jobKey, id, keyHolds == '1')
if used then return used end
local createdAt = redis.call('HGET', jobKey, 'createdAt')
if createdAt then return {'created', createdAt, ticketOut(queueKey)} end
local closed = closedBy(modelKey, numbersKey, model, version, isLine == '1')
if closed then return {closed} end

local queued = redis.call('HMGET', queuedKey, 'tenant:' .. tenant, 'tenant-bytes:' .. tenant, 'model:' .. model, 'model-bytes:' .. model)
local function isFull(count, more, limit)
  return tonumber(count or '0') + more > tonumber(limit)
end
local refusal
if isFull(queued[1], 1, maxTenantJobs) or isFull(queued[2], bytes, maxTenantBytes) then
  refusal = 'tenant_full'
elseif isFull(queued[3], 1, maxModelJobs) or isFull(queued[4], bytes, maxModelBytes) then
  refusal = 'model_full'
end
if refusal then
  local rate = redis.call('HMGET', queueKey, 'startedJobs', 'busyMs')
  return {refusal, queued[1] or '0', queued[3] or '0', rate[1] or '0', rate[2] or '0'}
end

local now = redisTime()
local expires = now + tonumber(ttlMs)
redis.call('HSET', jobKey, 'status', 'queued', 'tenant', tenant, 'spec', spec, 'input', input, 'bytes', bytes,
  'instances', instances, 'cost', cost, 'events', events, 'createdAt', now, 'expiresAt', expires,
  'attempts', 0, 'starts', 0, 'keptSeconds', keptSeconds)
redis.call('ZADD', waitingKey, queuePlace(queueKey, rank, tenant, cost), id)
redis.call('ZADD', dueIndexKey, math.min(now + tonumber(checkAfterMs), expires), id)
redis.call('ZADD', tenantJobsKey, 0, id)
countQueued(queuedKey, tenant, model, 1, bytes)
countUses(queueKey, 1)
useKey(idempotencyKey, 'job', fingerprint, id, idempotencySeconds)
local isPaused = redis.call('HEXISTS', pausedKey, model) == 1
return {'created', tostring(now), isPaused and '' or giveTicket(queueKey, now)}
