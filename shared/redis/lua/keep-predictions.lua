-- Keeps the predictions of a job for equal jobs. A version keeps a number of them; those that end first make room.
--
-- Reply nothing

--- @include "redis-time"
--- @include "version-gate"

local cachedKey = KEYS[1] -- string: the packed predictions
local answersKey = KEYS[2] -- sorted set: the keys of the version's kept predictions, by the time at which they end
local modelKey = KEYS[3] -- hash: versions, their states, aliases
local numbersKey = KEYS[4] -- hash: the highest version number of each model that was deleted
local model = ARGV[1]
local version = ARGV[2]
local output = ARGV[3]
local seconds = ARGV[4]
local maxKept = ARGV[5] -- of a version
local maxSeconds = ARGV[6] -- the longest that any are kept

if closedBy(modelKey, numbersKey, model, version, true) then return end
local now = redisTime()
redis.call('SET', cachedKey, output, 'EX', seconds)
redis.call('ZREMRANGEBYSCORE', answersKey, '-inf', now)
redis.call('ZADD', answersKey, now + seconds * 1000, cachedKey)
redis.call('EXPIRE', answersKey, maxSeconds)
local over = redis.call('ZCARD', answersKey) - maxKept
if over <= 0 then return end
for _, key in ipairs(redis.call('ZRANGE', answersKey, 0, over - 1)) do
  redis.call('DEL', key)
  redis.call('ZREM', answersKey, key)
end
