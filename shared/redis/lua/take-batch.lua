-- Makes the caller the driver of a batch. Every earlier driver has lost it from now on.
--
-- Reply {token, now}, {} when the batch has ended

--- @include "redis-time"

local batchKey = KEYS[1] -- hash: the record of the batch

local status = redis.call('HGET', batchKey, 'status')
if status ~= 'queued' and status ~= 'running' and status ~= 'canceling' then return {} end
local now = redisTime()
if status == 'queued' then redis.call('HSET', batchKey, 'status', 'running') end
redis.call('HSETNX', batchKey, 'startedAt', now)
return {tostring(redis.call('HINCRBY', batchKey, 'token', 1)), tostring(now)}
