-- Asks for one more attempt of a delivery, now; a pending delivery gets the next of its schedule. Somebody waits for it, so it
-- comes before all deliveries that are overdue.
--
-- Reply 1, 0 when the delivery is gone

local deliveryKey = KEYS[1] -- hash: the record of the delivery
local dueIndexKey = KEYS[2] -- sorted set: pending deliveries by the time at which they are looked for
local endedKey = KEYS[3] -- sorted set: deliveries of the log that have ended
local id = ARGV[1]
local now = ARGV[2] -- milliseconds since the Unix epoch

local status = redis.call('HGET', deliveryKey, 'status')
if not status then return 0 end
if status ~= 'pending' then redis.call('HSET', deliveryKey, 'status', 'pending', 'once', status) end
redis.call('ZREM', endedKey, id)
redis.call('HSET', deliveryKey, 'nextAt', now)
redis.call('ZADD', dueIndexKey, 0, id)
return 1
