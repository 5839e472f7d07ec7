-- Releases deliveries that an endpoint held, while it is enabled.
--
-- Reply ids of the deliveries that are to be attempted now

local endpointKey = KEYS[1] -- hash: the record of the endpoint
local heldKey = KEYS[2] -- set: deliveries that the endpoint holds while it is not enabled
local releasingKey = KEYS[3] -- set: enabled endpoints that still hold deliveries
local dueIndexKey = KEYS[4] -- sorted set: pending deliveries by the time at which they are looked for
local endpoint = ARGV[1]
local count = ARGV[2] -- at most
local lookAt = ARGV[3] -- when they are looked for

local ids = redis.call('HGET', endpointKey, 'enabled') == '1' and redis.call('SPOP', heldKey, count) or {}
for _, id in ipairs(ids) do redis.call('ZADD', dueIndexKey, lookAt, id) end
if #ids < tonumber(count) then redis.call('SREM', releasingKey, endpoint) end
return ids
