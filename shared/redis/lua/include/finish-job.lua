-- Gives finishJob(): ends a job of an open queue.

--- @include "queue-of-jobs"
--- @include "read-terms"
--- @include "count-queued"
--- @include "version-uses"
--- @include "whole-number"
--- @include "tell-end"
--- @include "tell-job-event"

-- Time for which Redis keeps a record that upkeep should have forgotten.
local FORGOTTEN_LATE_MS = 3600000

-- Returns 'settled' and the status before. When the job is not in one of the states `from` (",queued,running,"), or not under
-- this fencing token ('' = any), it returns the present status, 'gone' without a record. An execution that has ended the job
-- so already, and did not hear of it, gets 'settled' without a status before.
local function finishJob(queue, jobKey, id, from, token, status, ending, output)
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'terms', 'startedAt', 'attempts', 'history')
  local before, starts, terms, startedAt, attempts, history = unpack(job)
  if not before then return 'gone' end
  if not string.find(from, ',' .. before .. ',', 1, true) then
    local isOwn = token ~= '' and token == starts and status == before and redis.call('HGET', jobKey, 'end') == ending
    return isOwn and 'settled' or before
  end
  if token ~= '' and token ~= starts then return before end
  local tenant, _, bytes, _, keptSeconds, awaitedBy, events = readTerms(terms)
  local deletedMs = queue.now + keptSeconds * 1000
  local deleted = wholeNumber(deletedMs)
  local fields = {'status', status, 'finishedAt', queue.nowDigits, 'deletedAfter', deleted, 'end', ending}
  if output ~= '' then
    fields[#fields + 1] = 'output'
    fields[#fields + 1] = output
  end
  redis.call('HSET', jobKey, unpack(fields))
  redis.call('PEXPIREAT', jobKey, wholeNumber(deletedMs + FORGOTTEN_LATE_MS))
  queue.lookAt(id, deleted)
  countUses(queue.state, -1)
  if before == 'queued' then
    queue.leave(id)
    countQueued(queue.queued, tenant, queue.model, -1, -bytes)
  end
  local event = 'evt_' .. string.sub(id, 5)
  tellJobEvent(queue.outboxKey, queue.subscribed, tenant, events, 'job.' .. status, event, id, queue.now)
  if awaitedBy ~= '-' then
    local words = {status, startedAt or '-', queue.nowDigits, deleted, attempts, starts}
    -- Predictions that are not here lie in a blob.
    local isWhole = not history and (status ~= 'succeeded' or output ~= '')
    tellEnd(queue, awaitedBy, id, isWhole, words, ending, output)
  end
  return 'settled', before
end
