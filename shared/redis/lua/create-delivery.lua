-- Writes a new delivery into its log. Fields and values of its record follow the arguments.
--
-- A full log forgets deliveries that have ended, the oldest first. Where all are pending nothing is added, so a receiver that
-- is away does not fill Redis; its endpoint counts the deliveries that were dropped.
--
-- Reply made | the status of a delivery that was made before | dropped where the log is full

local deliveryKey = KEYS[1] -- hash: the record of the delivery
local logKey = KEYS[2] -- sorted set: deliveries of the same log
local dueIndexKey = KEYS[3] -- sorted set: pending deliveries by the time at which they are looked for
local endpointKey = KEYS[4] -- hash: the record of the endpoint, used only with an endpoint
local endedKey = KEYS[5] -- sorted set: deliveries of the log that have ended
local id = ARGV[1]
local keptMs = ARGV[2]
local nextAt = ARGV[3] -- when the first attempt is due, milliseconds since the Unix epoch
local leastId = ARGV[4] -- that a log keeps
local maxEntries = ARGV[5] -- of a log
local deliveryPrefix = ARGV[6] -- of the keys of deliveries
local attemptsPrefix = ARGV[7] -- of the keys of their attempts
local endpoint = ARGV[8] -- "" = none
local lookAfterMs = ARGV[9] -- a delivery that should have been attended to is looked for so long after

local FIRST_FIELD = 10 -- for each: field, value
-- A log may be far over its bound when the bound was lowered; at most so many entries go at once.
local MOST_FORGOTTEN = 100

local known = redis.call('HGET', deliveryKey, 'status')
if known then return known end
redis.call('ZREMRANGEBYLEX', logKey, '-', '(' .. leastId)
redis.call('ZREMRANGEBYLEX', endedKey, '-', '(' .. leastId)
local over = math.min(redis.call('ZCARD', logKey) + 1 - maxEntries, MOST_FORGOTTEN)
local forgotten = over > 0 and redis.call('ZRANGE', endedKey, 0, over - 1) or {}
if #forgotten < over then
  if endpoint ~= '' and redis.call('EXISTS', endpointKey) == 1 then redis.call('HINCRBY', endpointKey, 'dropped', 1) end
  return 'dropped'
end
for _, each in ipairs(forgotten) do
  redis.call('ZREM', logKey, each)
  redis.call('ZREM', endedKey, each)
  redis.call('DEL', deliveryPrefix .. each, attemptsPrefix .. each)
end
redis.call('HSET', deliveryKey, 'status', 'pending', 'attempts', 0, 'nextAt', nextAt, unpack(ARGV, FIRST_FIELD))
redis.call('PEXPIRE', deliveryKey, keptMs)
redis.call('ZADD', logKey, 0, id)
redis.call('PEXPIRE', logKey, keptMs)
redis.call('ZADD', dueIndexKey, nextAt + lookAfterMs, id)
return 'made'
