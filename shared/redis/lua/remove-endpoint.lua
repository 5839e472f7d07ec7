-- Removes a webhook endpoint with the list of deliveries that it held.
--
-- Reply 1, 0 when there was none

--- @include "subscribe-tenant"

local endpointKey = KEYS[1]
local tenantEndpointsKey = KEYS[2]
local subscribedKey = KEYS[3]
local heldKey = KEYS[4]
local releasingKey = KEYS[5]
local id = ARGV[1]
local tenant = ARGV[2]
local endpointPrefix = ARGV[3] -- of the keys of endpoints

local removed = redis.call('DEL', endpointKey)
redis.call('ZREM', tenantEndpointsKey, id)
redis.call('DEL', heldKey)
redis.call('SREM', releasingKey, id)
subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
return removed
