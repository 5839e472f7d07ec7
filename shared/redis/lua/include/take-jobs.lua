-- Gives takeJobs() and takeAgain(): start jobs of an open queue under a ticket, each with a new fencing token.

--- @include "call-many"
--- @include "finish-job"
--- @include "reach-place"
--- @include "read-terms"
--- @include "tell-started"
--- @include "whole-number"

-- Rounds of looking for jobs in one call: bounds the work when many have expired.
local MAX_ROUNDS = 4

-- Returns a share: what is started in one call. `limits` has instances, bytes, starts (of one job), expiredEnd,
-- lostEnd.
local function openShare(ticket, takenKey, jobPrefix, limits)
  return {
    ticket = ticket, takenKey = takenKey, jobPrefix = jobPrefix, limits = limits,
    instancesLeft = limits.instances, bytesLeft = limits.bytes, expired = 0, lost = 0,
    jobs = {}, -- for each started job: id, fencing token, attempt, spec, input
    started = {}, taken = {}, dropped = {}, ended = {}, -- ids
    isBehind = false, -- whether more was taken under the ticket than goes into the share
  }
end

local function handOut(share, id, token, attempt, instances, bytes, spec, input)
  share.instancesLeft = share.instancesLeft - tonumber(instances)
  share.bytesLeft = share.bytesLeft - tonumber(bytes)
  share.started[#share.started + 1] = id
  local jobs = share.jobs
  local last = #jobs
  jobs[last + 1], jobs[last + 2], jobs[last + 3] = id, tostring(token), tostring(attempt)
  jobs[last + 4], jobs[last + 5] = spec, input
end

local function endUnstarted(queue, share, jobKey, id, from, status, ending)
  finishJob(queue, jobKey, id, from, '', status, ending, '')
  share.ended[#share.ended + 1] = id
end

-- Starts a job again that was taken under the ticket and has not ended. That costs no attempt.
local function startAgain(queue, share, id)
  local jobKey = share.jobPrefix .. id
  local job = redis.call('HMGET', jobKey, 'status', 'starts', 'terms', 'spec', 'input', 'attempts')
  local status, starts, terms, spec, input, attempts = unpack(job)
  local tenant, instances, bytes = readTerms(terms or '')
  if status ~= 'running' then
    share.dropped[#share.dropped + 1] = id
  elseif tonumber(starts) >= share.limits.starts then
    endUnstarted(queue, share, jobKey, id, ',running,', 'failed', share.limits.lostEnd)
    share.dropped[#share.dropped + 1] = id
    if tenant ~= SHADOW_TENANT then share.lost = share.lost + 1 end
  elseif share.instancesLeft <= 0 or (#share.started > 0 and tonumber(bytes) > share.bytesLeft) then
    share.isBehind = true
  else
    local token = redis.call('HINCRBY', jobKey, 'starts', 1)
    handOut(share, id, token, attempts, instances, bytes, spec, input)
  end
end

-- A job that was left so often may kill its workers. From then on it is started alone, and falls alone.
local function isSuspect(share, id)
  return tonumber(redis.call('HGET', share.jobPrefix .. id, 'starts') or 0) >= share.limits.starts / 2
end

-- Starts one suspect, if the worker has nothing else. Nothing more is started while the ticket has suspects.
local function takeSuspects(queue, share, suspects, hasNone)
  local left = #suspects
  for _, id in ipairs(suspects) do
    if hasNone and #share.started == 0 then
      local dropped = #share.dropped
      startAgain(queue, share, id)
      left = left - (#share.dropped - dropped)
    end
  end
  if left > 0 then share.isBehind, share.instancesLeft = true, 0 end
end

-- Starts again what was taken under the ticket, without the jobs that `inHand` has as keys. A worker that died may have had several
-- shares in hand: who takes over all of them at once, beside shares of its own, may die of that, and leave even more.
local function takeAgain(queue, share, inHand)
  local suspects = {}
  for _, id in ipairs(redis.call('SMEMBERS', share.takenKey)) do
    if isSuspect(share, id) then
      suspects[#suspects + 1] = id
    elseif not inHand[id] then
      startAgain(queue, share, id)
    end
  end
  takeSuspects(queue, share, suspects, next(inHand) == nil)
  callMany('SREM', share.takenKey, share.dropped)
end

local function start(queue, share, id, place)
  local jobKey = share.jobPrefix .. id
  local job = redis.call('HMGET', jobKey, 'expiresAt', 'terms', 'spec', 'input', 'attempts', 'starts')
  local expiresAt, terms, spec, input, attempts, starts = unpack(job)
  local tenant, instances, bytes, _, _, _, events = readTerms(terms or '')
  if not expiresAt then
    queue.leave(id)
    countUses(queue.state, -1)
  elseif queue.now >= tonumber(expiresAt) then
    endUnstarted(queue, share, jobKey, id, ',queued,', 'expired', share.limits.expiredEnd)
    if tenant ~= SHADOW_TENANT then share.expired = share.expired + 1 end
  elseif #share.started > 0 and tonumber(bytes) > share.bytesLeft then
    share.bytesLeft = 0
  else
    local attempt, token = wholeNumber(attempts + 1), wholeNumber(starts + 1)
    redis.call('HSET', jobKey, 'status', 'running', 'startedAt', queue.nowDigits, 'ticket', share.ticket, 'attempts', attempt, 'starts', token)
    queue.leave(id)
    countQueued(queue.queued, tenant, queue.model, -1, -bytes)
    reachPlace(queue.state, place)
    share.taken[#share.taken + 1] = id
    tellStarted(queue.outboxKey, queue.subscribed, tenant, events, id, attempt, queue.now)
    handOut(share, id, token, attempt, instances, bytes, spec, input)
  end
end

-- Fills the share up from the jobs that wait. The first job is taken whatever its size.
local function takeJobs(queue, share, waitingKey)
  for _ = 1, MAX_ROUNDS do
    if share.instancesLeft <= 0 or share.bytesLeft <= 0 then break end
    local next = redis.call('ZRANGE', waitingKey, 0, share.instancesLeft - 1, 'WITHSCORES')
    if #next == 0 then break end
    for i = 1, #next, 2 do
      if share.instancesLeft > 0 and share.bytesLeft > 0 then start(queue, share, next[i], tonumber(next[i + 1])) end
    end
    queue.writeLeft()
  end
  callMany('SADD', share.takenKey, share.taken)
  if #share.taken > 0 then queue.state.add('started', #share.taken) end
end
