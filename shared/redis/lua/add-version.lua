-- Adds an uploaded version to its model. A number that was given before, be it of a version that was purged, is not given again.
--
-- Reply 1, also to a call that added it and did not hear so; 0 when the number is taken,
--       2 when the model is being deleted

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local modelsKey = KEYS[2] -- set: names of all models
local revisionKey = KEYS[3] -- string: number of changes of what there is to serve
local numbersKey = KEYS[4] -- hash: the highest version number of each model that was deleted
local version = ARGV[1]
local stored = ARGV[2] -- the version as JSON
local description = ARGV[3] -- "" = none
local name = ARGV[4]
local call = ARGV[5] -- id of the call
local folder = ARGV[6] -- of its blobs

if redis.call('HGET', modelKey, 'maker:' .. version) == call then return 1 end
if redis.call('HEXISTS', modelKey, 'deleting') == 1 then return 2 end
if redis.call('HEXISTS', modelKey, 'version:' .. version) == 1 then return 0 end
if redis.call('HEXISTS', modelKey, 'state:' .. version) == 1 then return 0 end
if tonumber(version) <= tonumber(redis.call('HGET', numbersKey, name) or '0') then return 0 end
redis.call('HSET', modelKey, 'state:' .. version, 'pending', 'maker:' .. version, call,
  'version:' .. version, stored, 'blobs:' .. folder, version)
if description ~= '' then redis.call('HSET', modelKey, 'description', description) end
redis.call('HSETNX', modelKey, 'alias:latest', version)
redis.call('SADD', modelsKey, name)
redis.call('INCR', revisionKey)
return 1
