-- Adds an uploaded version to its model.
--
-- Reply 1, also to a call that added it and did not hear so; 0 when the number is taken

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local modelsKey = KEYS[2] -- set: names of all models
local revisionKey = KEYS[3] -- string: number of changes of what there is to serve
local version = ARGV[1]
local stored = ARGV[2] -- the version as JSON
local description = ARGV[3] -- "" = none
local name = ARGV[4]
local call = ARGV[5] -- id of the call

if redis.call('HSETNX', modelKey, 'version:' .. version, stored) == 0 then
  return redis.call('HGET', modelKey, 'maker:' .. version) == call and 1 or 0
end
redis.call('HSET', modelKey, 'state:' .. version, 'pending', 'maker:' .. version, call)
if description ~= '' then redis.call('HSET', modelKey, 'description', description) end
redis.call('HSETNX', modelKey, 'alias:latest', version)
redis.call('SADD', modelsKey, name)
redis.call('INCR', revisionKey)
return 1
