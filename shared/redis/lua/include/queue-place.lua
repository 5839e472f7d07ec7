-- Gives queuePlace(): the place of a job in its queue, first by priority, then by start tag, which shares the queue fairly
-- among tenants. Source: Start-time Fair Queuing (Goyal, Vin, Cheng, 1996).

--- @include "priority-lane"

-- A tenant's next tag lies `cost` (instances / weight) after its last. A tenant that had nothing queued begins at the tag of
-- the job that is being started now.
local function queuePlace(queueKey, rank, tenant, cost)
  local last = 'tag:' .. rank .. ':' .. tenant
  local tags = redis.call('HMGET', queueKey, 'tag:' .. rank, last)
  local tag = math.max(tonumber(tags[1] or '0'), tonumber(tags[2] or '0'))
  redis.call('HSET', queueKey, last, tag + cost)
  return rank * LANE + tag
end
