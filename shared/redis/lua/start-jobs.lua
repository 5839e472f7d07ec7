-- Starts jobs of a queue for the worker that holds a ticket.
--
-- Jobs that were taken under this ticket and have not ended were left behind by a worker that died or lost its lock. They are
-- started again under a new token, which makes the result of the old execution void, and that costs no attempt. Then, unless
-- the model is paused, the ticket is filled up from the jobs that wait. The first job is taken whatever its size.
--
-- Reply {ticket to hand over or "", jobs ended as expired, as lost (without copies for a shadow); then for each job: id,
--        fencing token, attempt, spec, input}

--- @include "call-many"
--- @include "wake-ticket"
--- @include "priority-lane"
--- @include "measure-rate"
--- @include "finish-job"

local waitingKey = KEYS[1] -- sorted set: queued jobs of the version, in starting order
local dueIndexKey = KEYS[2] -- sorted set: records by the time at which upkeep looks at them next
local queuedKey = KEYS[3] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local outboxKey = KEYS[4] -- stream: events to deliver
local subscribedKey = KEYS[5] -- hash: events that each tenant's endpoints want
local queueKey = KEYS[6] -- hash: state of the version's queue
local takenKey = KEYS[7] -- set: jobs taken under this ticket
local pausedKey = KEYS[8] -- hash: models of which no job is started
local ticket = ARGV[1]
local maxInstances = ARGV[2]
local maxBytes = ARGV[3] -- of input
local maxStarts = ARGV[4] -- of a job
local jobPrefix = ARGV[5] -- of the keys of jobs
local model = ARGV[6]
local expiredEnd = ARGV[7] -- JSON
local lostEnd = ARGV[8] -- JSON
local endedChannel = ARGV[9]
local changedChannel = ARGV[10]
local checkAfterMs = ARGV[11] -- upkeep looks at a running record again then

-- Rounds of looking for jobs in one start: bounds the work when many have expired.
local MAX_ROUNDS = 4

-- Every submit leaves its mark on the queue. One without is that of a version that was purged, and comes to life no more.
if redis.call('EXISTS', queueKey) == 0 then return {'', '0', '0'} end

local queue = openQueue({
  waitingKey = waitingKey, dueIndexKey = dueIndexKey, queuedKey = queuedKey,
  outboxKey = outboxKey, subscribedKey = subscribedKey, queueKey = queueKey,
}, model, 'out', 'outSince', 'given', 'startedJobs', 'busyMs', 'measuredAt', 'backlog')
local now = queue.now
local nextCheckAt = now + tonumber(checkAfterMs)
local instancesLeft, bytesLeft = tonumber(maxInstances), tonumber(maxBytes)
local expired, lost = 0, 0
local taken = {} -- ids of jobs that are started anew
local started = {} -- ids
local ended = {} -- ids
local reply = {'', '0', '0'} -- the started jobs follow

local function handOut(id, token, attempt, instances, bytes, spec, input)
  queue.lookAt(id, nextCheckAt)
  instancesLeft = instancesLeft - tonumber(instances)
  bytesLeft = bytesLeft - tonumber(bytes)
  started[#started + 1] = id
  local last = #reply
  reply[last + 1], reply[last + 2], reply[last + 3] = id, tostring(token), tostring(attempt)
  reply[last + 4], reply[last + 5] = spec, input
end

local function takeAgain(id)
  local jobKey = jobPrefix .. id
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'instances', 'spec', 'input', 'bytes', 'attempts', 'tenant')
  local status, starts, instances, spec, input, bytes, attempts, tenant = unpack(job)
  if status ~= 'running' then
    redis.call('SREM', takenKey, id)
  elseif tonumber(starts) >= tonumber(maxStarts) then
    finishJob(queue, jobKey, id, ',running,', '', 'failed', lostEnd, '')
    redis.call('SREM', takenKey, id)
    ended[#ended + 1] = id
    if tenant ~= SHADOW_TENANT then lost = lost + 1 end
  else
    local token = redis.call('HINCRBY', jobKey, 'starts', 1)
    handOut(id, token, attempts, instances, bytes, spec, input)
  end
end

local function take(id, place)
  local jobKey = jobPrefix .. id
  local job = redis.call('HMGET', jobKey, 'expiresAt', 'tenant', 'instances', 'spec', 'input', 'bytes', 'events', 'attempts', 'starts')
  local expiresAt, tenant, instances, spec, input, bytes, events, attempts, starts = unpack(job)
  if not expiresAt then
    queue.leave(id)
    countUses(queue.state, -1)
  elseif now >= tonumber(expiresAt) then
    finishJob(queue, jobKey, id, ',queued,', '', 'expired', expiredEnd, '')
    ended[#ended + 1] = id
    if tenant ~= SHADOW_TENANT then expired = expired + 1 end
  elseif #started > 0 and tonumber(bytes) > bytesLeft then
    bytesLeft = 0
  else
    local attempt, token = attempts + 1, starts + 1
    redis.call('HSET', jobKey, 'status', 'running', 'startedAt', now, 'ticket', ticket, 'attempts', attempt, 'starts', token)
    queue.leave(id)
    countQueued(queue.queued, tenant, model, -1, -bytes)
    local rank = math.floor(place / LANE)
    queue.state.set('tag:' .. rank, place - rank * LANE)
    taken[#taken + 1] = id
    local event = 'evt_' .. string.sub(id, 5) .. '-started-' .. attempt
    tellJobEvent(outboxKey, queue.subscribed, tenant, events, 'job.started', event, id, now)
    handOut(id, token, attempt, instances, bytes, spec, input)
  end
end

if queue.state.get('out') == ticket then queue.state.set('out', '') end
for _, id in ipairs(redis.call('SMEMBERS', takenKey)) do takeAgain(id) end
local isPaused = redis.call('HEXISTS', pausedKey, model) == 1
for _ = 1, isPaused and 0 or MAX_ROUNDS do
  if instancesLeft <= 0 or bytesLeft <= 0 then break end
  local next = redis.call('ZRANGE', waitingKey, 0, instancesLeft - 1, 'WITHSCORES')
  if #next == 0 then break end
  for i = 1, #next, 2 do
    if instancesLeft > 0 and bytesLeft > 0 then take(next[i], tonumber(next[i + 1])) end
  end
  queue.writeLeft()
end
callMany('SADD', takenKey, taken)
if #ended > 0 then redis.call('PUBLISH', endedChannel, table.concat(ended, ' ')) end
if #started > 0 then redis.call('PUBLISH', changedChannel, table.concat(started, ' ')) end

local isLeft = not isPaused and redis.call('ZCARD', waitingKey) > 0
measureRate(queue.state, #taken, isLeft, now)
if isLeft then
  reply[1] = giveTicket(queue.state, now)
  if reply[1] == '' then reply[1] = ticketOut(queue.state) end
end
reply[2], reply[3] = tostring(expired), tostring(lost)
queue.close()
return reply
