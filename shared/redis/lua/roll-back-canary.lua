-- Rolls a canary back, if it still is the one that was judged.
--
-- Reply 1, also to a call that did it and did not hear so; 0 when it is another canary by now

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local canariesKey = KEYS[2] -- set: aliases with a canary that runs
local alias = ARGV[1]
local judged = ARGV[2] -- the canary as it was read, JSON
local rolledBack = ARGV[3] -- the canary from now on, JSON
local canaryMember = ARGV[4] -- <model>@<alias>

local canary = redis.call('HGET', modelKey, 'canary:' .. alias)
if canary == rolledBack then return 1 end
if canary ~= judged then return 0 end
redis.call('HSET', modelKey, 'canary:' .. alias, rolledBack)
redis.call('SREM', canariesKey, canaryMember)
return 1
