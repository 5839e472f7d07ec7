-- Settles jobs: ends each of them, or puts it back in its queue for another attempt.
--
-- The jobs follow the arguments: `ticket` is the one that a job was taken under ("" = none), `from` the states that it may come
-- from (",running,"), `token` its fencing token ("" = any), `status` a terminal one, `ending` JSON, `output` "" without one,
-- `pauseMs` the pause before another attempt ("" = the job ends now), `attempt` a JSON object of this attempt.
--
-- Reply for each job: settled | retried | its present status or "gone". An execution that did not hear so gets the same again.

--- @include "call-many"
--- @include "finish-job"

local waitingKey = KEYS[1] -- sorted set: queued jobs of the version, in starting order
local dueIndexKey = KEYS[2] -- sorted set: records by the time at which upkeep looks at them next
local queuedKey = KEYS[3] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local outboxKey = KEYS[4] -- stream: events to deliver
local subscribedKey = KEYS[5] -- hash: events that each tenant's endpoints want
local queueKey = KEYS[6] -- hash: state of the version's queue
local jobPrefix = ARGV[1] -- of the keys of jobs
local model = ARGV[2]
local endedChannel = ARGV[3]
local stoppedChannel = ARGV[4] -- running jobs that were canceled
local takenPrefix = ARGV[5] -- of the keys of jobs taken under a ticket
local changedChannel = ARGV[6] -- changes that are no ends

local FIRST_JOB = 7 -- for each: id, ticket, from, token, status, ending, output, pauseMs, attempt
local VALUES_A_JOB = 9

local queue = openQueue({
  waitingKey = waitingKey, dueIndexKey = dueIndexKey, queuedKey = queuedKey,
  outboxKey = outboxKey, subscribedKey = subscribedKey, queueKey = queueKey,
}, model)
local ended = {} -- ids
local stopped = {} -- ids
local retried = {} -- ids
local givenBack = {} -- by ticket: ids of jobs that are no longer taken under it
local reply = {}

-- Returns 'retried' when the job waits for another attempt; nil when this execution is not the newest, or no time is left.
local function retry(jobKey, id, token, pauseMs, attempt)
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'tenant', 'bytes', 'expiresAt', 'startedAt', 'history')
  local status, starts, tenant, bytes, expiresAt, startedAt, history = unpack(job)
  if status == 'queued' and starts == token then return 'retried' end
  if status ~= 'running' or starts ~= token then return nil end
  local entry = '{"startedAt":' .. startedAt .. ',"finishedAt":' .. queue.now .. ',' .. string.sub(attempt, 2)
  redis.call('HSET', jobKey, 'history', history and history .. ',' .. entry or entry)
  if queue.now + pauseMs >= tonumber(expiresAt) then return nil end
  redis.call('HSET', jobKey, 'status', 'queued')
  redis.call('HDEL', jobKey, 'startedAt', 'ticket')
  queue.lookAt(id, queue.now + pauseMs)
  countQueued(queue.queued, tenant, model, 1, tonumber(bytes))
  return 'retried'
end

for i = FIRST_JOB, #ARGV, VALUES_A_JOB do
  local id, ticket, from, token, status, ending, output, pauseMs, attempt = unpack(ARGV, i, i + VALUES_A_JOB - 1)
  local jobKey = jobPrefix .. id
  local outcome, before = pauseMs ~= '' and retry(jobKey, id, token, tonumber(pauseMs), attempt) or nil
  if not outcome then
    outcome, before = finishJob(queue, jobKey, id, from, token, status, ending, output)
  end
  if outcome == 'settled' and before then ended[#ended + 1] = id end
  if outcome == 'retried' then retried[#retried + 1] = id end
  if outcome == 'settled' and before == 'running' and status == 'canceled' then stopped[#stopped + 1] = id end
  -- A job that still runs does so under a newer token, and is in newer hands.
  if ticket ~= '' and outcome ~= 'running' then
    local jobs = givenBack[ticket] or {}
    jobs[#jobs + 1] = id
    givenBack[ticket] = jobs
  end
  reply[#reply + 1] = outcome
end
for ticket, jobs in pairs(givenBack) do callMany('SREM', takenPrefix .. ticket, jobs) end
queue.close()
if #ended > 0 then redis.call('PUBLISH', endedChannel, table.concat(ended, ' ')) end
if #stopped > 0 then redis.call('PUBLISH', stoppedChannel, table.concat(stopped, ' ')) end
if #retried > 0 then redis.call('PUBLISH', changedChannel, table.concat(retried, ' ')) end
return reply
