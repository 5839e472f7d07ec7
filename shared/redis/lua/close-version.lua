-- Closes a retired version for good, once no job and no batch needs it. From then on nothing can begin to use it, so its files
-- may go.
--
-- Reply closed, also to a later call | needed | open when it is not retired | gone

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local queueKey = KEYS[2] -- hash: state of the version's queue
local waitingKey = KEYS[3] -- sorted set: queued jobs of the version, in starting order
local revisionKey = KEYS[4] -- string: number of changes of what there is to serve
local purgesKey = KEYS[5] -- sorted set: versions and models that are to go, by the time at which upkeep looks at them
local version = ARGV[1]
local member = ARGV[2] -- <model>@<version>

local state = redis.call('HGET', modelKey, 'state:' .. version)
local isThere = redis.call('HEXISTS', modelKey, 'version:' .. version) == 1
if isThere and state == 'purging' then return 'closed' end
if not isThere or state ~= 'retired' then
  redis.call('ZREM', purgesKey, member)
  return isThere and 'open' or 'gone'
end
local uses = tonumber(redis.call('HGET', queueKey, 'uses') or '0')
if uses > 0 or redis.call('ZCARD', waitingKey) > 0 then return 'needed' end
redis.call('HSET', modelKey, 'state:' .. version, 'purging')
redis.call('INCR', revisionKey)
return 'closed'
