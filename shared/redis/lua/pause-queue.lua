-- Holds the jobs of a model that have not started, unless the model was deleted meanwhile.
--
-- Reply nothing

--- @include "redis-time"

local pausedKey = KEYS[1] -- hash: models of which no job is started
local modelKey = KEYS[2] -- hash: versions, their states, aliases
local numbersKey = KEYS[3] -- hash: the highest version number of each model that was deleted
local model = ARGV[1]

if redis.call('EXISTS', modelKey) == 0 and redis.call('HEXISTS', numbersKey, model) == 1 then return end
redis.call('HSETNX', pausedKey, model, redisTime())
