-- Writes new jobs into the queue of their version, each by itself: one is refused when the version is closed, or its tenant or
-- its model has too many queued jobs.
--
-- A lone job, for which a worker stands by, is started here and sent to that worker.
--
-- A client of Redis sends a command again when a broken connection left it unanswered. So this may run twice for one submit,
-- the second time when the job has ended long since: a record that exists stays as it is, and the ticket that is out is handed
-- over once more.
--
-- Reply for each job: {created, now, ticket to hand over or ""} | {replayed, id} | {mismatch} |
--       {retired | purged | deleted} | {tenant_full | model_full, jobs queued by the tenant, by the model, jobs started, in how many busy milliseconds}

--- @include "redis-time"
--- @include "call-many"
--- @include "open-hash"
--- @include "idempotency"
--- @include "call-worker"
--- @include "queue-place"
--- @include "reach-place"
--- @include "send-job"
--- @include "tell-started"
--- @include "count-queued"
--- @include "version-gate"
--- @include "version-uses"
--- @include "whole-number"

local waitingKey = KEYS[1] -- sorted set: queued jobs of the version, in starting order
local dueIndexKey = KEYS[2] -- sorted set: records by the time at which upkeep looks at them next
local queuedKey = KEYS[3] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local queueKey = KEYS[4] -- hash: state of the version's queue
local pausedKey = KEYS[5] -- hash: models of which no job is started
local modelKey = KEYS[6] -- hash: versions, their states, aliases
local numbersKey = KEYS[7] -- hash: the highest version number of each model that was deleted
local outboxKey = KEYS[8] -- stream: events to deliver
local subscribedKey = KEYS[9] -- hash: events that each tenant's endpoints want
local jobPrefix = ARGV[1] -- of the keys of jobs
local model = ARGV[2]
local version = ARGV[3]
local maxTenantJobs = ARGV[4] -- queued
local maxTenantBytes = ARGV[5]
local maxModelJobs = ARGV[6] -- queued
local maxModelBytes = ARGV[7]
local checkAfterMs = ARGV[8] -- upkeep first looks at a record then, and repairs a ticket that was lost
local takenPrefix = ARGV[9] -- of the keys of what was taken under a ticket
local sends = ARGV[10] -- "1" when a lone job may be sent

local FIRST_JOB = 11 -- for each: id, tenant, tenantJobsKey, spec, input, bytes, instances, cost, ttlMs, rank, events, keptSeconds, isLine, awaitedBy, idempotencyKey, fingerprint, idempotencySeconds, keyHolds
local VALUES_A_JOB = 18
-- For each job `spec` is JSON; `input` are packed instances, "" when they are in a blob, and `bytes` their size wherever they are;
-- `cost` is instances / the tenant's weight; `rank` of the priority, 0 starts first; `events` of its own webhook,
-- ",job.failed," or "-"; `keptSeconds` after its end; `isLine` "1" for a line of a batch; `awaitedBy` the channel of the process that
-- waits for its end, "-" when none does; `fingerprint` of the body, "" without an Idempotency-Key; `keyHolds` "1" when the key makes
-- no second job although the first is gone.

local now = redisTime()
local nowDigits = wholeNumber(now)
local queue = openHash(queueKey, 'uses', 'given', 'out', 'outSince', 'standby', 'rung', 'rungAt', 'submitted')
local queued = openHash(queuedKey)
local subscribed = openHash(subscribedKey)
local isPaused -- whether no job of the model is started; nil before that was asked
local waiting, due, byTenant = {}, {}, {}
local closedTo = {} -- by isLine: why the version is closed, "" when it is open

local function closed(isLine)
  closedTo[isLine] = closedTo[isLine] or closedBy(modelKey, numbersKey, model, version, isLine == '1') or ''
  return closedTo[isLine]
end

-- Returns the reply that refuses a job for want of room, nil when there is room.
local function refusal(tenant, bytes)
  local ofTenant, ofModel = 'tenant:' .. tenant, 'model:' .. model
  local tenantBytes, modelBytes = 'tenant-bytes:' .. tenant, 'model-bytes:' .. model
  queued.read(ofTenant, tenantBytes, ofModel, modelBytes)
  local function isFull(field, more, limit)
    return queued.number(field) + more > tonumber(limit)
  end
  local outcome
  if isFull(ofTenant, 1, maxTenantJobs) or isFull(tenantBytes, bytes, maxTenantBytes) then
    outcome = 'tenant_full'
  elseif isFull(ofModel, 1, maxModelJobs) or isFull(modelBytes, bytes, maxModelBytes) then
    outcome = 'model_full'
  end
  if not outcome then return nil end
  return {outcome, tostring(queued.number(ofTenant)), tostring(queued.number(ofModel)), queue.get('startedJobs'), queue.get('busyMs')}
end

local function mayStart()
  if isPaused == nil then isPaused = redis.call('HEXISTS', pausedKey, model) == 1 end
  return not isPaused
end

-- Returns the worker that a job is sent to; nil when it waits in its queue.
local function receiverOf(spec, input)
  local isLone = #ARGV < FIRST_JOB + VALUES_A_JOB
  if sends ~= '1' or not isLone or #spec + #input > MOST_SENT_BYTES or not mayStart() then return nil end
  return findReceiver(queue, now)
end

local function wait(id, tenant, rank, cost, bytes)
  waiting[#waiting + 1] = queuePlace(queue, rank, tenant, cost)
  waiting[#waiting + 1] = id
  countQueued(queued, tenant, model, 1, bytes)
end

local function startAt(receiver, id, tenant, spec, input, rank, cost, events)
  queue.add('started', 1)
  reachPlace(queue, queuePlace(queue, rank, tenant, cost))
  redis.call('SADD', takenPrefix .. receiver.ticket, id)
  tellStarted(outboxKey, subscribed, tenant, events, id, 1, now)
  sendJob(queue, receiver, id, spec, input)
end

local function list(id, tenantJobsKey, expires)
  due[#due + 1] = wholeNumber(math.min(now + tonumber(checkAfterMs), expires))
  due[#due + 1] = id
  local jobs = byTenant[tenantJobsKey] or {}
  jobs[#jobs + 1] = '0'
  jobs[#jobs + 1] = id
  byTenant[tenantJobsKey] = jobs
  countUses(queue, 1)
  queue.add('submitted', 1)
end

local function submit(id, tenant, tenantJobsKey, spec, input, bytes, instances, cost, ttlMs, rank, events, keptSeconds, isLine,
  awaitedBy, idempotencyKey, fingerprint, idempotencySeconds, keyHolds)
  local jobKey = jobPrefix .. id
  local used = usedBefore(idempotencyKey, 'job', fingerprint, jobKey, id, keyHolds == '1')
  if used then return used end
  local createdAt = redis.call('HGET', jobKey, 'createdAt')
  if createdAt then return {'created', createdAt, ticketOut(queue)} end
  if closed(isLine) ~= '' then return {closed(isLine)} end
  local refused = refusal(tenant, bytes)
  if refused then return refused end
  local expires = now + tonumber(ttlMs)
  -- read-terms.lua tells them apart.
  local terms = table.concat({tenant, instances, bytes, cost, keptSeconds, awaitedBy, events}, ' ')
  local receiver = receiverOf(spec, input)
  local starts = receiver and '1' or '0'
  local record = {'status', receiver and 'running' or 'queued', 'spec', spec, 'input', input, 'terms', terms,
    'createdAt', nowDigits, 'expiresAt', wholeNumber(expires), 'attempts', starts, 'starts', starts}
  if receiver then
    for _, value in ipairs({'startedAt', nowDigits, 'ticket', receiver.ticket}) do record[#record + 1] = value end
  end
  redis.call('HSET', jobKey, unpack(record))
  list(id, tenantJobsKey, expires)
  if receiver then
    startAt(receiver, id, tenant, spec, input, rank, cost, events)
  else
    wait(id, tenant, rank, cost, bytes)
  end
  useKey(idempotencyKey, 'job', fingerprint, id, idempotencySeconds)
  return {'created', nowDigits, ''}
end

local reply, firstCreated = {}, nil
for i = FIRST_JOB, #ARGV, VALUES_A_JOB do
  local outcome = submit(unpack(ARGV, i, i + VALUES_A_JOB - 1))
  if #waiting > 0 and not firstCreated then firstCreated = outcome end
  reply[#reply + 1] = outcome
end
callMany('ZADD', waitingKey, waiting)
callMany('ZADD', dueIndexKey, due)
for tenantJobsKey, jobs in pairs(byTenant) do callMany('ZADD', tenantJobsKey, jobs) end
if firstCreated and mayStart() then firstCreated[3] = callWorker(queue, now) end
queue.close()
queued.close()
return reply
