-- Removes a webhook endpoint with the list of deliveries that it held.
--
-- Reply 1, 0 when there was none

--- @include "subscribe-tenant"

local endpointKey = KEYS[1] -- hash: the record of the endpoint
local tenantEndpointsKey = KEYS[2] -- sorted set: the tenant's endpoints
local subscribedKey = KEYS[3] -- hash: events that each tenant's endpoints want
local heldKey = KEYS[4] -- set: deliveries that the endpoint holds while it is not enabled
local releasingKey = KEYS[5] -- set: enabled endpoints that still hold deliveries
local id = ARGV[1]
local tenant = ARGV[2]
local endpointPrefix = ARGV[3] -- of the keys of endpoints

local removed = redis.call('DEL', endpointKey)
redis.call('ZREM', tenantEndpointsKey, id)
redis.call('DEL', heldKey)
redis.call('SREM', releasingKey, id)
subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
return removed
