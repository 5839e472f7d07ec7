-- Registers a bundled version, or what has changed of it. A version whose files have changed begins again as pending.
--
-- Reply 1, also to a call that did it and did not hear so; 0 when the version is another than was read

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local modelsKey = KEYS[2] -- set: names of all models
local version = ARGV[1]
local name = ARGV[2]
local before = ARGV[3] -- the version as it was read, "" = none
local stored = ARGV[4] -- the version from now on, JSON
local description = ARGV[5] -- "" = none
local isFresh = ARGV[6] -- "1" when its files are other ones

local known = redis.call('HGET', modelKey, 'version:' .. version) or ''
if known ~= before then return known == stored and 1 or 0 end
redis.call('HSET', modelKey, 'version:' .. version, stored, 'description', description)
if isFresh == '1' then
  redis.call('HSET', modelKey, 'state:' .. version, 'pending')
  redis.call('HDEL', modelKey, 'report:' .. version, 'failure:' .. version, 'told:' .. version, 'deletedAfter:' .. version)
end
redis.call('HSETNX', modelKey, 'alias:latest', version)
redis.call('SADD', modelsKey, name)
return 1
