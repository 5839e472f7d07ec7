-- Gives settleExecution(): settles a job that was executed, if the execution is its newest: ends it, or puts it back for another
-- attempt.

--- @include "finish-job"
--- @include "read-terms"

-- Returns 'retried' when the job waits for another attempt; nil when this execution is not the newest, or no time is left.
local function retryJob(queue, jobKey, id, token, pauseMs, attempt)
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'terms', 'expiresAt', 'startedAt', 'history')
  local status, starts, terms, expiresAt, startedAt, history = unpack(job)
  if status == 'queued' and starts == token then return 'retried' end
  if status ~= 'running' or starts ~= token then return nil end
  local entry = '{"startedAt":' .. startedAt .. ',"finishedAt":' .. queue.now .. ',' .. string.sub(attempt, 2)
  redis.call('HSET', jobKey, 'history', history and history .. ',' .. entry or entry)
  if queue.now + pauseMs >= tonumber(expiresAt) then return nil end
  redis.call('HSET', jobKey, 'status', 'queued')
  redis.call('HDEL', jobKey, 'startedAt', 'ticket')
  queue.lookAt(id, queue.now + pauseMs)
  local tenant, _, bytes = readTerms(terms)
  countQueued(queue.queued, tenant, queue.model, 1, tonumber(bytes))
  return 'retried'
end

-- `pauseMs` is the pause before another attempt, '' when the job ends now; `attempt` the JSON of the one that failed.
-- Returns 'retried', or as finishJob().
local function settleExecution(queue, jobKey, id, token, status, ending, output, pauseMs, attempt)
  local outcome = pauseMs ~= '' and retryJob(queue, jobKey, id, token, tonumber(pauseMs), attempt)
  if outcome then return outcome end
  return finishJob(queue, jobKey, id, ',running,', token, status, ending, output)
end
