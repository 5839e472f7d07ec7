-- Forgets a model that is being deleted, once all its versions are gone. The highest of its numbers stays: a model that gets
-- its name later goes on from there, and who slept meanwhile takes no version of that one for one of this.
--
-- Reply 1, also when it is gone already; 0 when it is not being deleted, or a version is left

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local modelsKey = KEYS[2] -- set: names of all models
local numbersKey = KEYS[3] -- hash: the highest version number of each model that was deleted
local pausedKey = KEYS[4] -- hash: models of which no job is started
local queuedKey = KEYS[5] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local purgesKey = KEYS[6] -- sorted set: versions and models that are to go, by the time at which upkeep looks at them
local revisionKey = KEYS[7] -- string: number of changes of what there is to serve
local scalingKey = KEYS[8] -- string: what is remembered of the model to scale its workers
local name = ARGV[1]

if redis.call('EXISTS', modelKey) == 0 then
  redis.call('ZREM', purgesKey, name)
  return 1
end
if redis.call('HEXISTS', modelKey, 'deleting') == 0 then return 0 end
local highest = tonumber(redis.call('HGET', numbersKey, name) or '0')
for _, field in ipairs(redis.call('HKEYS', modelKey)) do
  local kind, number = string.match(field, '^(%a+):(.+)$')
  if kind == 'version' then return 0 end
  if kind == 'state' then highest = math.max(highest, tonumber(number)) end
end
redis.call('HSET', numbersKey, name, string.format('%d', highest))
redis.call('DEL', modelKey, scalingKey)
redis.call('SREM', modelsKey, name)
redis.call('HDEL', pausedKey, name)
redis.call('HDEL', queuedKey, 'model:' .. name, 'model-bytes:' .. name)
redis.call('ZREM', purgesKey, name)
redis.call('INCR', revisionKey)
return 1
