-- Records an attempt of a delivery, and moves the delivery and the state of its endpoint.
--
-- A replay that was asked for during the attempt gets one more, unless this was a success.
--
-- Reply {status of the delivery, nextAt} | {status, nextAt, reason for which its endpoint was disabled} |
--       {} when the delivery is gone or has ended

local deliveryKey = KEYS[1] -- hash: the record of the delivery
local attemptsKey = KEYS[2] -- list: attempts of the delivery, JSON
local dueIndexKey = KEYS[3] -- sorted set: pending deliveries by the time at which they are looked for
local endpointKey = KEYS[4] -- hash: the record of the endpoint, used only with an endpoint
local outboxKey = KEYS[5] -- stream: events to deliver
local subscribedKey = KEYS[6] -- hash: events that each tenant's endpoints want
local endedKey = KEYS[7] -- sorted set: deliveries of the log that have ended
local id = ARGV[1]
local statusAfter = ARGV[2] -- of the delivery, unless a replay is asked for
local nextAttemptAt = ARGV[3] -- milliseconds since the Unix epoch
local attempt = ARGV[4] -- as it is kept once another has followed, JSON
local lastAttempt = ARGV[5] -- with the whole response, JSON
local now = ARGV[6] -- milliseconds since the Unix epoch
local endpoint = ARGV[7] -- "" = none
local gone = ARGV[8] -- "gone" when the receiver responded 410
local disableAfterMs = ARGV[9] -- without a success
local attemptsBefore = ARGV[10]
local keptMs = ARGV[11]
local dueAt = ARGV[12] -- when this attempt was due, milliseconds since the Unix epoch
local lookAfterMs = ARGV[13] -- a delivery that should have been attended to is looked for so long after
local quietMs = ARGV[14] -- a failure after so long without one begins a new streak

-- A schedule has ten attempts; replays add to them.
local ATTEMPTS_KEPT = 50

local delivery = redis.call('HMGET', deliveryKey, 'status', 'once', 'tenant', 'attempts', 'lastAttempt', 'nextAt')
local before, once, tenant, attempts, known, plannedAt = unpack(delivery)
if known == lastAttempt then return {before, plannedAt} end
if before ~= 'pending' or attempts ~= attemptsBefore then return {} end

local status, nextAt = statusAfter, nextAttemptAt
if status ~= 'delivered' and once then status = once end
redis.call('HDEL', deliveryKey, 'once')
if statusAfter ~= 'delivered' and tonumber(plannedAt) > tonumber(dueAt) then
  if status ~= 'pending' then redis.call('HSET', deliveryKey, 'once', status) end
  status, nextAt = 'pending', plannedAt
end
redis.call('HINCRBY', deliveryKey, 'attempts', 1)
redis.call('HSET', deliveryKey, 'status', status, 'nextAt', nextAt, 'lastAttempt', lastAttempt)
redis.call('RPUSH', attemptsKey, attempt)
redis.call('LTRIM', attemptsKey, -ATTEMPTS_KEPT, -1)
redis.call('PEXPIRE', attemptsKey, math.max(redis.call('PTTL', deliveryKey), 1))
if status == 'pending' then
  redis.call('ZADD', dueIndexKey, nextAt + lookAfterMs, id)
else
  redis.call('ZREM', dueIndexKey, id)
  redis.call('ZADD', endedKey, 0, id)
  redis.call('PEXPIRE', endedKey, keptMs)
end

if endpoint == '' then return {status, nextAt} end
local enabled = redis.call('HGET', endpointKey, 'enabled')
if not enabled then return {status, nextAt} end
if statusAfter == 'delivered' then
  redis.call('HDEL', endpointKey, 'failingSince', 'lastFailureAt')
  redis.call('HSET', endpointKey, 'lastSuccessAt', now)
  return {status, nextAt}
end
local lastFailureAt = redis.call('HGET', endpointKey, 'lastFailureAt')
if not lastFailureAt or tonumber(now) - tonumber(lastFailureAt) > tonumber(quietMs) then
  redis.call('HDEL', endpointKey, 'failingSince')
end
redis.call('HSET', endpointKey, 'lastFailureAt', now)
redis.call('HSETNX', endpointKey, 'failingSince', now)
local failingSince = tonumber(redis.call('HGET', endpointKey, 'failingSince'))
local reason
if gone ~= '' then
  reason = 'gone'
elseif tonumber(now) - failingSince >= tonumber(disableAfterMs) then
  reason = 'failing'
end
if not reason or enabled == '0' then return {status, nextAt} end
redis.call('HSET', endpointKey, 'enabled', '0', 'disabledAt', now, 'disabledReason', reason)
local wanted = redis.call('HGET', subscribedKey, tenant)
if wanted and string.find(wanted, ',endpoint.disabled,', 1, true) then
  local event = 'evt_' .. endpoint .. '-disabled-' .. now
  redis.call('XADD', outboxKey, '*', 'id', event, 'type', 'endpoint.disabled', 'endpoint', endpoint, 'at', now)
end
return {status, nextAt, reason}
