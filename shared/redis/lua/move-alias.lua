-- Puts an alias on a version, with a canary and a shadow beside it, or without. Counts of earlier ones begin anew.
--
-- Reply {""} when it is done, {state, version} when the state of that version forbids it, {missing, version} without it,
--       {deleting} when the model is being deleted

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local canariesKey = KEYS[2] -- set: aliases with a canary that runs
local versionOutcomesKey = KEYS[3] -- hash: jobs of the version that ended beside the canary
local canaryOutcomesKey = KEYS[4] -- hash: jobs of the canary that ended
local agreementKey = KEYS[5] -- hash: predictions of the shadow beside those that callers got
local alias = ARGV[1]
local version = ARGV[2]
local canaryVersion = ARGV[3] -- "" = none
local canary = ARGV[4] -- JSON
local canaryMember = ARGV[5] -- <model>@<alias>
local shadowVersion = ARGV[6] -- "" = none
local shadow = ARGV[7] -- JSON

if redis.call('HEXISTS', modelKey, 'deleting') == 1 then return {'deleting'} end
for _, each in ipairs({version, canaryVersion, shadowVersion}) do
  if each ~= '' then
    local state = redis.call('HGET', modelKey, 'state:' .. each)
    if state == 'failed' or state == 'retired' then return {state, each} end
    if state == 'purging' or state == 'purged' then return {'retired', each} end
    if redis.call('HEXISTS', modelKey, 'version:' .. each) == 0 then return {'missing', each} end
  end
end
redis.call('HSET', modelKey, 'alias:' .. alias, version)
if canaryVersion == '' then
  redis.call('HDEL', modelKey, 'canary:' .. alias)
  redis.call('SREM', canariesKey, canaryMember)
else
  redis.call('HSET', modelKey, 'canary:' .. alias, canary)
  redis.call('SADD', canariesKey, canaryMember)
  redis.call('DEL', versionOutcomesKey, canaryOutcomesKey)
end
if shadowVersion == '' then
  redis.call('HDEL', modelKey, 'shadow:' .. alias)
else
  redis.call('HSET', modelKey, 'shadow:' .. alias, shadow)
  redis.call('DEL', agreementKey)
end
return {''}
