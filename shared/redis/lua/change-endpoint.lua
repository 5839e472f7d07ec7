-- Changes a webhook endpoint. Fields and values of its record follow the arguments. An endpoint that is enabled again
-- releases the deliveries that it held.
--
-- Reply 1, 0 when there is no such endpoint

--- @include "subscribe-tenant"

local endpointKey = KEYS[1] -- hash: the record of the endpoint
local tenantEndpointsKey = KEYS[2] -- sorted set: the tenant's endpoints
local subscribedKey = KEYS[3] -- hash: events that each tenant's endpoints want
local heldKey = KEYS[4] -- set: deliveries that the endpoint holds while it is not enabled
local releasingKey = KEYS[5] -- set: enabled endpoints that still hold deliveries
local id = ARGV[1]
local tenant = ARGV[2]
local endpointPrefix = ARGV[3] -- of the keys of endpoints
local now = ARGV[4] -- milliseconds since the Unix epoch
local enabled = ARGV[5] -- "1", "0", or "" to leave it

local FIRST_FIELD = 6 -- for each: field, value

local before = redis.call('HGET', endpointKey, 'enabled')
if not before then return 0 end
if #ARGV >= FIRST_FIELD then redis.call('HSET', endpointKey, unpack(ARGV, FIRST_FIELD)) end
if enabled == '1' and before == '0' then
  redis.call('HSET', endpointKey, 'enabled', '1')
  redis.call('HDEL', endpointKey, 'disabledAt', 'disabledReason', 'failingSince', 'lastFailureAt')
  if redis.call('EXISTS', heldKey) == 1 then redis.call('SADD', releasingKey, id) end
elseif enabled == '0' and before == '1' then
  redis.call('HSET', endpointKey, 'enabled', '0', 'disabledAt', now, 'disabledReason', 'paused')
  redis.call('SREM', releasingKey, id)
end
subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
return 1
