-- Stores the state of a version as a worker found it. `ready` and `retired` stand when another worker reports less, `failed`
-- stands when another only lacks the backend, whatever that one has said of its steps until then, and a version that was purged meanwhile stays away.
--
-- The alias `latest` does not leave a version that is ready for one that has never computed anything.
--
-- Each worker that starts loads the version anew. The field `told` keeps the last event, so that only a change makes another.
--
-- Reply nothing

--- @include "redis-time"
--- @include "version-gate"

local modelKey = KEYS[1] -- hash: versions, their states, aliases
local outboxKey = KEYS[2] -- stream: events to deliver
local subscribedKey = KEYS[3] -- hash: events that each tenant's endpoints want
local numbersKey = KEYS[4] -- hash: the highest version number of each model that was deleted
local version = ARGV[1]
local state = ARGV[2] -- ready, failed, loading or pending
local report = ARGV[3] -- JSON: its waitingFor.what tells what a pending version lacks
local name = ARGV[4]
local proven = ARGV[5] -- 1, or 0 for a version that has never computed anything
local unserved = ARGV[6] -- 1 where no worker serves it, so that `ready` does not stand; else 0

if closedBy(modelKey, numbersKey, name, version, true) then return end
local before = redis.call('HGET', modelKey, 'state:' .. version)
if before == 'retired' or before == 'ready' and state ~= 'ready' and unserved == '0' then return end
if state == 'pending' then
  local waiting = cjson.decode(report).waitingFor
  local failure = redis.call('HGET', modelKey, 'failure:' .. version)
  if failure and waiting ~= cjson.null and waiting.what == 'backend' then state, report = 'failed', failure end
end
if state == 'failed' then redis.call('HSET', modelKey, 'failure:' .. version, report) end
if state == 'ready' then redis.call('HDEL', modelKey, 'failure:' .. version) end
redis.call('HSET', modelKey, 'state:' .. version, state, 'report:' .. version, report)
local latest = redis.call('HGET', modelKey, 'alias:latest') or '0'
local leaves = proven == '1' or redis.call('HGET', modelKey, 'state:' .. latest) ~= 'ready'
if state == 'ready' and before ~= 'ready' and tonumber(version) > tonumber(latest) and leaves then
  redis.call('HSET', modelKey, 'alias:latest', version)
end
local told = redis.call('HGET', modelKey, 'told:' .. version) or before
if (state ~= 'ready' and state ~= 'failed') or told == state then return end
redis.call('HSET', modelKey, 'told:' .. version, state)
if redis.call('HLEN', subscribedKey) > 0 then
  local now = redisTime()
  local subject = name .. '@' .. version
  local event = 'evt_' .. subject .. '-' .. now
  redis.call('XADD', outboxKey, '*', 'id', event, 'type', 'model.version.' .. state, 'version', subject, 'at', now)
end
