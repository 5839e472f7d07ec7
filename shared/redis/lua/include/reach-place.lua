-- Gives reachPlace(): notes how far the order of a queue (queue-place.lua) has come. `queue` is the open hash of the queue.

--- @include "open-hash"
--- @include "priority-lane"

-- The job at this place is started now.
local function reachPlace(queue, place)
  local rank = math.floor(place / LANE)
  queue.set('tag:' .. rank, place - rank * LANE)
end
