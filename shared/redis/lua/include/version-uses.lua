-- Gives countUses(): keeps the number of jobs and batches of a version that have not ended. A version in use keeps its files.

-- `change` is 1 for one that begins, -1 for one that ends. One that an older release began was not counted.
local function countUses(queueKey, change)
  if change < 0 and tonumber(redis.call('HGET', queueKey, 'uses') or '0') <= 0 then return end
  redis.call('HINCRBY', queueKey, 'uses', change)
end
