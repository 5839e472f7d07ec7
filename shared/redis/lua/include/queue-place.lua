-- Gives queuePlace(): the place of a job in its queue, first by priority, then by start tag, which shares the queue fairly
-- among tenants. Source: Start-time Fair Queuing (Goyal, Vin, Cheng, 1996).

--- @include "open-hash"
--- @include "priority-lane"

-- A tenant's next tag lies `cost` (instances / weight) after its last. A tenant that had nothing queued begins at the tag of
-- the job that is being started now. `queue` is the open hash of the version's queue.
local function queuePlace(queue, rank, tenant, cost)
  local last = 'tag:' .. rank .. ':' .. tenant
  queue.read('tag:' .. rank, last)
  local tag = math.max(queue.number('tag:' .. rank), queue.number(last))
  queue.set(last, tag + cost)
  return rank * LANE + tag
end
