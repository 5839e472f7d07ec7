-- Gives countUses(): keeps the number of jobs and batches of a version that have not ended. A version in use keeps its files.
-- `queue` is the open hash of the version's queue.

--- @include "open-hash"

-- `change` is 1 for one that begins, -1 for one that ends. One that an older release began was not counted.
local function countUses(queue, change)
  if change < 0 and queue.number('uses') <= 0 then return end
  queue.add('uses', change)
end
