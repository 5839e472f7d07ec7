-- The turn of a worker that holds a ticket: it settles the jobs that it has computed, and takes the next ones.
--
-- The jobs that it has computed follow the arguments. A turn that `begins` starts again what was taken under the ticket, left
-- behind by a worker that died or by an answer that was lost, under new tokens, which makes the result of the old execution void.
-- That fills a share at most; then the worker is `behind`, and so it is when this very turn was taken before: it must take over more.
-- A turn with room starts the jobs that wait, a share at most. A turn that `leaves` ends the tenure, unless jobs were started.
--
-- Reply {held | left | lost | behind, "1" when jobs wait and there is room, ticket to hand over or "", id of the last job that was
--        sent to the worker or "-", jobs ended as expired, as lost (without copies for a shadow), what became of each computed job,
--        by spaces; then for each started job: id, fencing token, attempt, spec, input}. A computed job is settled | retried | its present status or "gone"; an execution
--        that did not hear so gets the same again. Nothing is started under a tenure that is lost, nor in a turn that was taken before.

--- @include "call-many"
--- @include "call-worker"
--- @include "hold-ticket"
--- @include "measure-rate"
--- @include "settle-execution"
--- @include "stand-by"
--- @include "take-jobs"

local waitingKey = KEYS[1] -- sorted set: queued jobs of the version, in starting order
local dueIndexKey = KEYS[2] -- sorted set: records by the time at which upkeep looks at them next
local queuedKey = KEYS[3] -- hash: numbers of queued jobs and of bytes of their input, by tenant and by model
local outboxKey = KEYS[4] -- stream: events to deliver
local subscribedKey = KEYS[5] -- hash: events that each tenant's endpoints want
local queueKey = KEYS[6] -- hash: state of the version's queue
local takenKey = KEYS[7] -- set: jobs taken under this ticket
local pausedKey = KEYS[8] -- hash: models of which no job is started
local ticket = ARGV[1]
local tenure = ARGV[2]
local turn = ARGV[3] -- of the tenure, counted up
local bell = ARGV[4] -- channel on which the worker is rung
local heard = ARGV[5] -- id of the last job that was sent to it, "-" when none was
local begins = ARGV[6] -- "1" when it takes over what was taken under the ticket
local inHand = ARGV[7] -- ids of the jobs that it has in hand, by spaces, in a turn that begins
local room = ARGV[8] -- number of shares that it has room for
local leaves = ARGV[9] -- "1" when the tenure is to end
local maxInstances = ARGV[10] -- of a share
local maxBytes = ARGV[11] -- of a share's input
local maxStarts = ARGV[12] -- of a job
local jobPrefix = ARGV[13] -- of the keys of jobs
local model = ARGV[14]
local expiredEnd = ARGV[15] -- JSON
local lostEnd = ARGV[16] -- JSON
local endedChannel = ARGV[17]
local changedChannel = ARGV[18] -- changes that are no ends

local FIRST_JOB = 19 -- for each: id, token, status, ending, output, pauseMs, attempt
local VALUES_A_JOB = 7
-- For each computed job `token` is its fencing token, `status` a terminal one, `ending` JSON, `output` "" without one, `pauseMs`
-- the pause before another attempt ("" = the job ends now), `attempt` a JSON object of this attempt.

local queue = openQueue({
  waitingKey = waitingKey, dueIndexKey = dueIndexKey, queuedKey = queuedKey,
  outboxKey = outboxKey, subscribedKey = subscribedKey, queueKey = queueKey,
}, model, 'given', 'out', 'outSince', 'standby', 'rung', 'rungAt', 'held:' .. ticket, 'startedJobs', 'busyMs', 'measuredAt', 'backlog', 'started')
local state = queue.state
local share = openShare(ticket, takenKey, jobPrefix, {
  instances = tonumber(maxInstances), bytes = tonumber(maxBytes), starts = tonumber(maxStarts),
  expiredEnd = expiredEnd, lostEnd = lostEnd,
})
local ended, retried = share.ended, {} -- ids

local function settle()
  local outcomes, givenBack = {}, {}
  for i = FIRST_JOB, #ARGV, VALUES_A_JOB do
    local id, token, status, ending, output, pauseMs, attempt = unpack(ARGV, i, i + VALUES_A_JOB - 1)
    local outcome, before = settleExecution(queue, jobPrefix .. id, id, token, status, ending, output, pauseMs, attempt)
    if outcome == 'settled' and before then ended[#ended + 1] = id end
    if outcome == 'retried' then retried[#retried + 1] = id end
    -- A job that still runs does so under a newer token, and is in newer hands.
    if outcome ~= 'running' then givenBack[#givenBack + 1] = id end
    outcomes[#outcomes + 1] = outcome
  end
  callMany('SREM', takenKey, givenBack)
  return table.concat(outcomes, ' ')
end

local function isAnyLeft(isPaused)
  return not isPaused and redis.call('ZCARD', waitingKey) > 0
end

-- Takes what is next, and says of the worker what follows: it leaves, comes again at once, or stands by.
local function takeNext(isPaused, sent)
  local canTake = tonumber(room) > 0 and not isPaused
  if canTake then takeJobs(queue, share, waitingKey) end
  local isLeft = isAnyLeft(isPaused)
  if canTake then measureRate(state, #share.taken, isLeft, queue.now) end
  if leaves == '1' and #share.started == 0 then
    -- A worker that has had nothing to do should have heard of it by now.
    if begins ~= '1' and heard ~= sent then return 'behind', '', isLeft end
    state.remove('held:' .. ticket)
    return 'left', '', isLeft
  end
  if share.isBehind then return 'behind', '', isLeft end
  local roomLeft = room - (#share.started > 0 and 1 or 0)
  if roomLeft <= 0 then return 'held', '', isLeft end
  if not isLeft then standBy(state, bell, tenure, ticket, roomLeft, queue.now) end
  return 'held', isLeft and '1' or '', isLeft
end

-- Has the ticket at hand, and starts again what was taken under it and is in nobody's.
local function takeOver()
  if state.get('out') == ticket then state.set('out', '') end
  local known = {}
  for id in string.gmatch(inHand, '%S+') do known[id] = true end
  takeAgain(queue, share, known)
end

local function takeTurn()
  standDown(state, bell, tenure)
  local isPaused = redis.call('HEXISTS', pausedKey, model) == 1
  local isMore, isLeft = '', nil
  local standing, sent = holdTicket(state, ticket, tenure, turn, begins)
  -- Then the answer to this turn or to an earlier one may have been lost, and a ticket with it.
  local mayHaveMissed = begins == '1' or standing ~= 'held'
  if begins == '1' then takeOver() end
  if standing == 'held' then
    standing, isMore, isLeft = takeNext(isPaused, sent)
  else
    isLeft = isAnyLeft(isPaused)
  end
  local called = isLeft and callWorker(state, queue.now) or ''
  if called == '' and isLeft and mayHaveMissed then called = ticketOut(state) end
  return standing, isMore, called, sent
end

local outcomes = settle()
-- Every submit leaves its mark on the queue. One without is that of a version that was purged, and comes to life no more.
local isGone = state.get('uses') == '' and state.get('given') == ''
-- A ticket that calls to it late has nothing to take over; were it lost, its holder would hand it back and get it again at once.
local standing, isMore, called, sent = begins == '1' and 'left' or 'lost', '', '', '-'
if not isGone then standing, isMore, called, sent = takeTurn() end
queue.close()
local changed = table.concat(retried, ' ') .. (#retried > 0 and #share.started > 0 and ' ' or '') .. table.concat(share.started, ' ')
if #ended > 0 then redis.call('PUBLISH', endedChannel, table.concat(ended, ' ')) end
if changed ~= '' then redis.call('PUBLISH', changedChannel, changed) end
local reply = {standing, isMore, called, sent, tostring(share.expired), tostring(share.lost), outcomes}
for _, value in ipairs(share.jobs) do reply[#reply + 1] = value end
return reply
