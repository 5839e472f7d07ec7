-- Gives finishJob(): ends a job.
--
-- `queue` is a table {model, now, waitingKey, dueIndexKey, queuedKey, outboxKey, subscribedKey, queueKey}: the queue of the
-- job, the time, and the keys that change beside the record.

--- @include "count-queued"
--- @include "version-uses"
--- @include "tell-job-event"

-- Returns 'settled' and the status before. When the job is not in one of the states `from` (",queued,running,"), or not under
-- this fencing token ('' = any), it returns the present status, 'gone' without a record. An execution that has ended the job
-- so already, and did not hear of it, gets 'settled' without a status before.
local function finishJob(queue, jobKey, id, from, token, status, ending, output)
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'tenant', 'events', 'bytes', 'keptSeconds')
  local before, starts, tenant, events, bytes, keptSeconds = unpack(job)
  if not before then return 'gone' end
  if not string.find(from, ',' .. before .. ',', 1, true) then
    local isOwn = token ~= '' and token == starts and status == before and redis.call('HGET', jobKey, 'end') == ending
    return isOwn and 'settled' or before
  end
  if token ~= '' and token ~= starts then return before end
  local deleted = queue.now + keptSeconds * 1000
  redis.call('HSET', jobKey, 'status', status, 'finishedAt', queue.now, 'deletedAfter', deleted, 'end', ending)
  if output ~= '' then redis.call('HSET', jobKey, 'output', output) end
  redis.call('PEXPIREAT', jobKey, deleted + 3600000)
  redis.call('ZADD', queue.dueIndexKey, deleted, id)
  countUses(queue.queueKey, -1)
  if before == 'queued' then
    redis.call('ZREM', queue.waitingKey, id)
    countQueued(queue.queuedKey, tenant, queue.model, -1, -bytes)
  end
  local event = 'evt_' .. string.sub(id, 5)
  tellJobEvent(queue.outboxKey, queue.subscribedKey, tenant, events, 'job.' .. status, event, id, queue.now)
  return 'settled', before
end
