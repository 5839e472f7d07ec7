-- Takes a delivery out of everybody's hands until its endpoint is enabled again.
--
-- Reply 1 when it is held, 0 when it is to be attempted after all, or has ended

local deliveryKey = KEYS[1] -- hash: the record of the delivery
local endpointKey = KEYS[2] -- hash: the record of the endpoint
local dueIndexKey = KEYS[3] -- sorted set: pending deliveries by the time at which they are looked for
local heldKey = KEYS[4] -- set: deliveries that the endpoint holds while it is not enabled
local id = ARGV[1]

if redis.call('HGET', deliveryKey, 'status') ~= 'pending' or redis.call('HGET', endpointKey, 'enabled') ~= '0' then return 0 end
redis.call('ZREM', dueIndexKey, id)
redis.call('SADD', heldKey, id)
return 1
