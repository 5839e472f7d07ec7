-- Ends jobs that no execution ends: a canceller, a deadline, predictions that were kept.
--
-- Reply for each job: settled | its present status or "gone"

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

local FIRST_JOB = 5 -- for each: id, from, status, ending, output
local VALUES_A_JOB = 5
-- For each job `from` are the states that it may come from (",queued,running,"), `status` is a terminal one, `ending` JSON,
-- `output` "" without one.

local queue = openQueue({
  waitingKey = waitingKey, dueIndexKey = dueIndexKey, queuedKey = queuedKey,
  outboxKey = outboxKey, subscribedKey = subscribedKey, queueKey = queueKey,
}, model)
local ended = {} -- ids
local stopped = {} -- ids
local reply = {}

for i = FIRST_JOB, #ARGV, VALUES_A_JOB do
  local id, from, status, ending, output = unpack(ARGV, i, i + VALUES_A_JOB - 1)
  local outcome, before = finishJob(queue, jobPrefix .. id, id, from, '', status, ending, output)
  if outcome == 'settled' then ended[#ended + 1] = id end
  if outcome == 'settled' and before == 'running' and status == 'canceled' then stopped[#stopped + 1] = id end
  reply[#reply + 1] = outcome
end
queue.close()
if #ended > 0 then redis.call('PUBLISH', endedChannel, table.concat(ended, ' ')) end
if #stopped > 0 then redis.call('PUBLISH', stoppedChannel, table.concat(stopped, ' ')) end
return reply
