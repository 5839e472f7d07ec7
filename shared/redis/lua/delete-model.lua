-- Begins to delete a model: it takes no new jobs from now on, and each of its versions goes when its last job has ended.
--
-- Reply 1, also to a later call; 0 when there is no such model

--- @include "redis-time"

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local purgesKey = KEYS[2] -- sorted set: versions and models that are to go, by the time at which upkeep looks at them
local canariesKey = KEYS[3] -- set: aliases with a canary that runs
local revisionKey = KEYS[4] -- string: number of changes of what there is to serve
local name = ARGV[1]

if redis.call('EXISTS', modelKey) == 0 then return 0 end
local now = redisTime()
if redis.call('HSETNX', modelKey, 'deleting', now) == 0 then return 1 end
for _, field in ipairs(redis.call('HKEYS', modelKey)) do
  local kind, key = string.match(field, '^(%a+):(.+)$')
  if kind == 'version' then
    if redis.call('HGET', modelKey, 'state:' .. key) ~= 'purging' then
      redis.call('HSET', modelKey, 'state:' .. key, 'retired', 'deletedAfter:' .. key, now)
    end
    redis.call('ZADD', purgesKey, now, name .. '@' .. key)
  elseif kind == 'canary' then
    redis.call('SREM', canariesKey, name .. '@' .. key)
  end
end
redis.call('ZADD', purgesKey, now, name)
redis.call('INCR', revisionKey)
return 1
