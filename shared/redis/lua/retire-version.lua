-- Retires a version, and says when it is purged: after a time, now, or never. A time that was said before only moves forward.
--
-- Reply retired | purged when it was purged before | missing

--- @include "redis-time"

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local purgesKey = KEYS[2] -- sorted set: versions and models that are to go, by the time at which upkeep looks at them
local revisionKey = KEYS[3] -- string: number of changes of what there is to serve
local version = ARGV[1]
local member = ARGV[2] -- <model>@<version>
local keptMs = ARGV[3] -- until it is purged, "" = it is kept

local state = redis.call('HGET', modelKey, 'state:' .. version)
if state == 'purging' or state == 'purged' then return 'purged' end
if redis.call('HEXISTS', modelKey, 'version:' .. version) == 0 then return 'missing' end
if state ~= 'retired' then
  redis.call('HSET', modelKey, 'state:' .. version, 'retired')
  redis.call('INCR', revisionKey)
end
if keptMs == '' then return 'retired' end
local at = redisTime() + tonumber(keptMs)
local known = tonumber(redis.call('HGET', modelKey, 'deletedAfter:' .. version))
if known and known <= at then return 'retired' end
redis.call('HSET', modelKey, 'deletedAfter:' .. version, at)
redis.call('ZADD', purgesKey, at, member)
return 'retired'
