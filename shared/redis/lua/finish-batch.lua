-- Ends a batch. One that is being canceled ends as canceled, whatever its driver says.
--
-- Reply the status in which it ended, also to a call that ended it and did not hear so; lost

--- @include "redis-time"
--- @include "batch-driver"
--- @include "version-uses"

local batchKey = KEYS[1] -- hash: the record of the batch
local batchesKey = KEYS[2] -- sorted set: batches by the time at which upkeep looks at them next
local openBatchesKey = KEYS[3] -- hash: number of open batches by tenant
local queueKey = KEYS[4] -- hash: state of the version's queue
local token = ARGV[1]
local id = ARGV[2]
local tenant = ARGV[3]
local status = ARGV[4] -- terminal
local error = ARGV[5] -- JSON, "" = none
local firstFailure = ARGV[6] -- JSON, "" = none
local files = ARGV[7] -- JSON
local keptMs = ARGV[8] -- after its end

local newest, finishedAt, present = unpack(redis.call('HMGET', batchKey, 'token', 'finishedAt', 'status'))
if newest == token and finishedAt then return present end
if not isDriver(batchKey, token) then return 'lost' end
local now = redisTime()
local ended = present == 'canceling' and 'canceled' or status
local deleted = now + tonumber(keptMs)
redis.call('HSET', batchKey, 'status', ended, 'finishedAt', now, 'deletedAfter', deleted)
redis.call('HSET', batchKey, 'error', error, 'firstFailure', firstFailure, 'files', files)
redis.call('ZADD', batchesKey, deleted, id)
if redis.call('HINCRBY', openBatchesKey, tenant, -1) <= 0 then redis.call('HDEL', openBatchesKey, tenant) end
local queue = openHash(queueKey)
countUses(queue, -1)
queue.close()
return ended
