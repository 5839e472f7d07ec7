-- Stores how far a batch is, and tells its driver what to do.
--
-- Reply go | cancel | expire | lost

--- @include "redis-time"
--- @include "batch-driver"

local batchKey = KEYS[1] -- hash: the record of the batch
local token = ARGV[1]
local total = ARGV[2] -- lines
local counts = ARGV[3] -- JSON

if not isDriver(batchKey, token) then return 'lost' end
redis.call('HSET', batchKey, 'total', total, 'counts', counts)
local status, expiresAt = unpack(redis.call('HMGET', batchKey, 'status', 'expiresAt'))
if status == 'canceling' then return 'cancel' end
return redisTime() >= tonumber(expiresAt) and 'expire' or 'go'
