-- Puts a queued job (back) into its queue: one whose pause after a failure is over, or one that has waited so long that it may
-- go before its priority.
--
-- Reply 1, 0 when the job has no need of it

--- @include "queue-place"
--- @include "read-terms"

local jobKey = KEYS[1] -- hash: the record of the job
local waitingKey = KEYS[2] -- sorted set: queued jobs of the version, in starting order
local queueKey = KEYS[3] -- hash: state of the version's queue
local id = ARGV[1]
local rank = ARGV[2] -- of the priority, 0 starts first

local status, terms = unpack(redis.call('HMGET', jobKey, 'status', 'terms'))
if status ~= 'queued' then return 0 end
local place = redis.call('ZSCORE', waitingKey, id)
if place and tonumber(place) < (rank + 1) * LANE then return 0 end
local queue = openHash(queueKey)
local tenant, _, _, cost = readTerms(terms)
redis.call('ZADD', waitingKey, queuePlace(queue, rank, tenant, cost), id)
queue.close()
return 1
