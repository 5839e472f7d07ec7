-- Gives measureRate(): the rate at which jobs of a queue are started. It is measured only while jobs wait, so it tells what
-- the workers can do and not what they are asked to do. `queue` is the open hash of the queue.

--- @include "open-hash"

-- Time over which the rate is averaged, exponentially.
local RATE_MEMORY_MS = 10000

local function measureRate(queue, jobs, left, now)
  if queue.get('backlog') == '1' then
    local passed = math.min(now - queue.number('measuredAt'), RATE_MEMORY_MS)
    local keep = math.exp(-passed / RATE_MEMORY_MS)
    queue.set('startedJobs', queue.number('startedJobs') * keep + jobs)
    queue.set('busyMs', queue.number('busyMs') * keep + passed)
  end
  queue.set('measuredAt', now)
  queue.set('backlog', left and '1' or '0')
end
