-- Forgets a closed version, whose files are gone. Its number stays, as purged, so that nobody gets it again. Aliases stay, too:
-- a caller who uses one is told that the version was purged. Upkeep looks once more, at what came to its queue too late.
--
-- Reply nothing

--- @include "redis-time"

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local queueKey = KEYS[2] -- hash: state of the version's queue
local waitingKey = KEYS[3] -- sorted set: queued jobs of the version, in starting order
local versionOutcomesKey = KEYS[4] -- hash: jobs of the version that ended
local agreementKey = KEYS[5] -- hash: predictions of the version beside those that callers got
local crashBlocklistKey = KEYS[6] -- sorted set: inputs that bring its backend down
local answersKey = KEYS[7] -- sorted set: predictions of the version that are kept
local canariesKey = KEYS[8] -- set: aliases with a canary that runs
local purgesKey = KEYS[9] -- sorted set: versions and models that are to go, by the time at which upkeep looks at them
local version = ARGV[1]
local name = ARGV[2]
local folder = ARGV[3] -- of its blobs, "" = none
local member = ARGV[4] -- <model>@<version>
local lookAfterMs = ARGV[5]

if redis.call('HGET', modelKey, 'state:' .. version) ~= 'purging' then return end
for _, field in ipairs({'version', 'report', 'failure', 'told', 'maker', 'deletedAfter'}) do
  redis.call('HDEL', modelKey, field .. ':' .. version)
end
redis.call('HDEL', modelKey, 'blobs:' .. folder)
redis.call('HSET', modelKey, 'state:' .. version, 'purged')
for _, field in ipairs(redis.call('HKEYS', modelKey)) do
  local kind, alias = string.match(field, '^(%a+):(.+)$')
  if kind == 'canary' or kind == 'shadow' then
    if cjson.decode(redis.call('HGET', modelKey, field)).version == tonumber(version) then
      redis.call('HDEL', modelKey, field)
      if kind == 'canary' then redis.call('SREM', canariesKey, name .. '@' .. alias) end
    end
  end
end
redis.call('DEL', queueKey, waitingKey, versionOutcomesKey, agreementKey, crashBlocklistKey, answersKey)
redis.call('ZADD', purgesKey, redisTime() + lookAfterMs, member)
