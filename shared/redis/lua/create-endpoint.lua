-- Writes a new webhook endpoint, unless its tenant has too many. Fields and values of its record follow the arguments.
--
-- Reply {created}, also to a call that created it and did not hear so; {replayed, id} | {mismatch} | {full}

--- @include "redis-time"
--- @include "subscribe-tenant"
--- @include "idempotency"

local endpointKey = KEYS[1] -- hash: the record of the endpoint
local tenantEndpointsKey = KEYS[2] -- sorted set: the tenant's endpoints
local subscribedKey = KEYS[3] -- hash: events that each tenant's endpoints want
local idempotencyKey = KEYS[4] -- hash: the Idempotency-Key; the record without one
local id = ARGV[1]
local tenant = ARGV[2]
local endpointPrefix = ARGV[3] -- of the keys of endpoints
local maxEndpoints = ARGV[4] -- of a tenant
local fingerprint = ARGV[5] -- of the body, "" without an Idempotency-Key
local idempotencySeconds = ARGV[6]

local FIRST_FIELD = 7 -- for each: field, value

local used = usedBefore(idempotencyKey, 'endpoint', fingerprint, endpointKey, id)
if used then return used end
if redis.call('EXISTS', endpointKey) == 1 then return {'created'} end
if redis.call('ZCARD', tenantEndpointsKey) >= tonumber(maxEndpoints) then return {'full'} end
redis.call('HSET', endpointKey, 'createdAt', redisTime(), unpack(ARGV, FIRST_FIELD))
redis.call('ZADD', tenantEndpointsKey, 0, id)
subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
useKey(idempotencyKey, 'endpoint', fingerprint, id, idempotencySeconds)
return {'created'}
