-- Gives measureRate(): the rate at which jobs of a queue are started. It is measured only while jobs wait, so it tells what
-- the workers can do and not what they are asked to do.

-- Time over which the rate is averaged, exponentially.
local RATE_MEMORY_MS = 10000

local function measureRate(queueKey, jobs, left, now)
  local rate = redis.call('HMGET', queueKey, 'startedJobs', 'busyMs', 'measuredAt', 'backlog')
  local started, busy = tonumber(rate[1] or '0'), tonumber(rate[2] or '0')
  if rate[4] == '1' then
    local passed = math.min(now - tonumber(rate[3]), RATE_MEMORY_MS)
    local keep = math.exp(-passed / RATE_MEMORY_MS)
    started = started * keep + jobs
    busy = busy * keep + passed
  end
  redis.call('HSET', queueKey, 'startedJobs', started, 'busyMs', busy, 'measuredAt', now, 'backlog', left and 1 or 0)
end
