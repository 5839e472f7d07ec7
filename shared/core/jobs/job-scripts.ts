/**
 * The scripts that move a job between states. Nothing else writes a record's `status`.
 *
 * Each is one atomic step with a compare-and-set in front, and takes the time from Redis, so that no worker's clock
 * decides. Replies of numbers come as strings. Keys of jobs are made from their ids: all keys share one hash tag.
 */
import { SHADOW_TENANT } from '../../contract/job.js';
import { PROGRESS_PERIOD_MS } from '../../contract/webhooks/events.js';
import { COUNT, FINISH, GIVE_TICKET, IDEMPOTENCY, LANE, MEASURE, PLACE, TELL, TIME } from './script-parts.js';

/** Until a queued record is first looked at by upkeep, which repairs a ticket that was lost after the record was written. */
export const CHECK_QUEUED_AFTER_MS = 5000;
/** How often a queued or running record is looked at after that. */
export const CHECK_MS = 60_000;

/**
 * A client of Redis sends again what a broken connection left unanswered, so that this may run twice for one submit, the
 * second time when the job has ended long since: a record that exists is left as it is, and the ticket that is out is handed
 * over once more.
 *
 * KEYS job, waiting, agenda, tenant's jobs, queued, queue, paused, idempotency
 * ARGV 1 id, 2 tenant, 3 model, 4 spec, 5 input, 6 instances, 7 cost (instances / the tenant's weight), 8 ttlMs,
 *      9 priority rank, 10 events (",job.failed," or ""), 11 most queued jobs and 12 bytes of a tenant, 13 jobs and
 *      14 bytes of a model, 15 fingerprint ("" = no Idempotency-Key), 16 seconds an Idempotency-Key is kept,
 *      17 bytes of the input, wherever it lies, 18 seconds it is kept once it has ended
 * Reply {created, now, ticket to hand over or ""} | {replayed, id} | {mismatch} |
 *       {tenant_full | model_full, jobs queued by the tenant, by the model, jobs started, in how many busy milliseconds}
 */
export const SUBMIT = `${TIME}${GIVE_TICKET}${PLACE}${COUNT}${IDEMPOTENCY}
local before = used_before(KEYS[8], 'job', ARGV[15], KEYS[1], ARGV[1])
if before then return before end
local createdAt = redis.call('HGET', KEYS[1], 'createdAt')
if createdAt then return {'created', createdAt, ticket_out(KEYS[6])} end
local q = redis.call('HMGET', KEYS[5], 'tenant:' .. ARGV[2], 'tenant-bytes:' .. ARGV[2], 'model:' .. ARGV[3], 'model-bytes:' .. ARGV[3])
local function full(i, limit, more)
  return tonumber(q[i] or '0') + more > tonumber(ARGV[limit])
end
local which = (full(1, 11, 1) or full(2, 12, ARGV[17])) and 'tenant_full' or (full(3, 13, 1) or full(4, 14, ARGV[17])) and 'model_full'
if which then
  local rate = redis.call('HMGET', KEYS[6], 'startedJobs', 'busyMs')
  return {which, q[1] or '0', q[3] or '0', rate[1] or '0', rate[2] or '0'}
end
local now = time()
local expires = now + tonumber(ARGV[8])
redis.call('HSET', KEYS[1], 'status', 'queued', 'tenant', ARGV[2], 'spec', ARGV[4], 'input', ARGV[5], 'bytes', ARGV[17],
  'instances', ARGV[6], 'cost', ARGV[7], 'events', ARGV[10], 'createdAt', now, 'expiresAt', expires, 'attempts', 0, 'starts', 0, 'keptSeconds', ARGV[18])
redis.call('ZADD', KEYS[2], place(KEYS[6], ARGV[9], ARGV[2], ARGV[7]), ARGV[1])
redis.call('ZADD', KEYS[3], math.min(now + ${CHECK_QUEUED_AFTER_MS}, expires), ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[1])
count(KEYS[5], ARGV[2], ARGV[3], 1, ARGV[17])
use(KEYS[8], 'job', ARGV[15], ARGV[1], ARGV[16])
local paused = redis.call('HEXISTS', KEYS[7], ARGV[3]) == 1
return {'created', tostring(now), paused and '' or give_ticket(KEYS[6], now)}
`;

/**
 * KEYS waiting, queue, paused
 * ARGV 1 model
 * Reply the ticket to hand over, be it the one that is out; "" when none is needed
 */
export const RECALL = `${TIME}${GIVE_TICKET}
if redis.call('ZCARD', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return '' end
local ticket = give_ticket(KEYS[2], time())
return ticket ~= '' and ticket or ticket_out(KEYS[2])
`;

/**
 * Puts a queued job (back) in its queue: one whose pause after a failure is over, or one that has waited so long that it
 * may go before its priority.
 *
 * KEYS job, waiting, queue
 * ARGV 1 id, 2 priority rank
 */
export const ENQUEUE = `${PLACE}
local r = redis.call('HMGET', KEYS[1], 'status', 'tenant', 'cost')
if r[1] ~= 'queued' then return 0 end
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if score and tonumber(score) < (ARGV[2] + 1) * ${LANE} then return 0 end
redis.call('ZADD', KEYS[2], place(KEYS[3], ARGV[2], r[2], r[3]), ARGV[1])
return 1
`;

/** Rounds of looking for jobs in one start: bounds the work when many have expired. */
const MAX_ROUNDS = 4;

/**
 * KEYS waiting, agenda, queued, outbox, subscribed, queue, taken under this ticket, paused
 * ARGV 1 ticket, 2 most instances, 3 most bytes of input, 4 most starts of a job, 5 prefix of jobs' keys, 6 model,
 *      7 end of an expired job, 8 end of a lost job, 9 channel of ends, 10 channel of other changes
 * Reply {ticket to hand over or "", jobs ended as expired, as lost, copies for a shadow left out; then for each job: id,
 *        fencing token, attempt, spec, input}
 *
 * What was taken under this ticket and has not ended was left behind by a worker that died or lost its lock: it is started
 * again under a new token, which makes the old execution's result void, and costs no attempt. Then, unless the model is
 * paused, the ticket is filled up from those waiting. The first job is taken whatever its size.
 */
export const START = `${TIME}${GIVE_TICKET}${COUNT}${MEASURE}${TELL}${FINISH}
local now = time()
local reply = {'', 0, 0}
local ended = {}
local started = {}
local taken = 0
local instances, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])

local function hand_out(id, attempt, r)
  local token = redis.call('HINCRBY', ARGV[5] .. id, 'starts', 1)
  redis.call('ZADD', KEYS[2], now + ${CHECK_MS}, id)
  instances = instances - tonumber(r[3])
  bytes = bytes - tonumber(r[6])
  started[#started + 1] = id
  reply[#reply + 1] = id
  reply[#reply + 1] = tostring(token)
  reply[#reply + 1] = tostring(attempt)
  reply[#reply + 1] = r[4]
  reply[#reply + 1] = r[5]
end

local function take(id, score)
  local job = ARGV[5] .. id
  local r = redis.call('HMGET', job, 'expiresAt', 'tenant', 'instances', 'spec', 'input', 'bytes', 'events')
  if not r[1] then
    redis.call('ZREM', KEYS[1], id)
  elseif now >= tonumber(r[1]) then
    finish(job, id, ARGV[6], ',queued,', '', 'expired', ARGV[7], '', now)
    ended[#ended + 1] = id
    if r[2] ~= '${SHADOW_TENANT}' then reply[2] = reply[2] + 1 end
  elseif #reply > 3 and tonumber(r[6]) > bytes then
    bytes = 0
  else
    redis.call('HSET', job, 'status', 'running', 'startedAt', now, 'ticket', ARGV[1])
    redis.call('ZREM', KEYS[1], id)
    count(KEYS[3], r[2], ARGV[6], -1, -r[6])
    redis.call('SADD', KEYS[7], id)
    local rank = math.floor(score / ${LANE})
    redis.call('HSET', KEYS[6], 'tag:' .. rank, score - rank * ${LANE})
    taken = taken + 1
    local attempt = redis.call('HINCRBY', job, 'attempts', 1)
    tell(KEYS[4], KEYS[5], r[2], r[7], 'job.started', 'evt_' .. string.sub(id, 5) .. '-started-' .. attempt, id, now)
    hand_out(id, attempt, r)
  end
end

local function take_again(id)
  local job = ARGV[5] .. id
  local r = redis.call('HMGET', job, 'status', 'starts', 'instances', 'spec', 'input', 'bytes', 'attempts', 'tenant')
  if r[1] ~= 'running' then
    redis.call('SREM', KEYS[7], id)
  elseif tonumber(r[2]) >= tonumber(ARGV[4]) then
    finish(job, id, ARGV[6], ',running,', '', 'failed', ARGV[8], '', now)
    redis.call('SREM', KEYS[7], id)
    ended[#ended + 1] = id
    if r[8] ~= '${SHADOW_TENANT}' then reply[3] = reply[3] + 1 end
  else
    hand_out(id, r[7], r)
  end
end

if redis.call('HGET', KEYS[6], 'out') == ARGV[1] then redis.call('HDEL', KEYS[6], 'out', 'outSince') end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[7])) do take_again(id) end
local paused = redis.call('HEXISTS', KEYS[8], ARGV[6]) == 1
for _ = 1, paused and 0 or ${MAX_ROUNDS} do
  if instances <= 0 or bytes <= 0 then break end
  local next = redis.call('ZRANGE', KEYS[1], 0, instances - 1, 'WITHSCORES')
  if #next == 0 then break end
  for i = 1, #next, 2 do
    if instances > 0 and bytes > 0 then take(next[i], tonumber(next[i + 1])) end
  end
end
if #ended > 0 then redis.call('PUBLISH', ARGV[9], table.concat(ended, ' ')) end
if #started > 0 then redis.call('PUBLISH', ARGV[10], table.concat(started, ' ')) end
local left = not paused and redis.call('ZCARD', KEYS[1]) > 0
measure(KEYS[6], taken, left, now)
if left then
  reply[1] = give_ticket(KEYS[6], now)
  if reply[1] == '' then reply[1] = ticket_out(KEYS[6]) end
end
reply[2], reply[3] = tostring(reply[2]), tostring(reply[3])
return reply
`;

/**
 * KEYS waiting, agenda, queued, outbox, subscribed
 * ARGV 1 prefix of jobs' keys, 2 model, 3 channel of ends, 4 channel of running jobs that were canceled, 5 prefix of the
 *      keys of what is taken, 6 channel of changes that are not ends;
 *      then for each job: id, ticket it was taken under ("" = none), states it may come from, fencing token ("" = any),
 *      terminal status, end, output ("" = none), pause in ms before another attempt ("" = ends now), JSON object of this attempt
 * Reply for each job: settled | retried | its present status or "gone"; the same once more to an execution that did not hear
 */
export const SETTLE = `${TIME}${COUNT}${TELL}${FINISH}
local now = time()
local reply = {}
local ended = {}
local stopped = {}
local queued = {}

local function retry(job, id, token, pause, attempt)
  local r = redis.call('HMGET', job, 'status', 'starts', 'tenant', 'bytes', 'expiresAt', 'startedAt', 'history')
  if r[1] == 'queued' and r[2] == token then return 'retried' end
  if r[1] ~= 'running' or r[2] ~= token then return nil end
  local entry = '{"startedAt":' .. r[6] .. ',"finishedAt":' .. now .. ',' .. string.sub(attempt, 2)
  redis.call('HSET', job, 'history', r[7] and r[7] .. ',' .. entry or entry)
  if now + pause >= tonumber(r[5]) then return nil end
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'startedAt', 'ticket')
  redis.call('ZADD', KEYS[2], now + pause, id)
  count(KEYS[3], r[3], ARGV[2], 1, tonumber(r[4]))
  return 'retried'
end

for i = 7, #ARGV, 9 do
  local id, ticket, from, token, status, ending, output, pause, attempt = unpack(ARGV, i, i + 8)
  local job = ARGV[1] .. id
  local outcome, before = pause ~= '' and retry(job, id, token, tonumber(pause), attempt) or nil
  if not outcome then
    outcome, before = finish(job, id, ARGV[2], from, token, status, ending, output, now)
  end
  if outcome == 'settled' and before then ended[#ended + 1] = id end
  if outcome == 'retried' then queued[#queued + 1] = id end
  if outcome == 'settled' and before == 'running' and status == 'canceled' then stopped[#stopped + 1] = id end
  -- Still running: under a newer token, and thus in newer hands.
  if ticket ~= '' and outcome ~= 'running' then redis.call('SREM', ARGV[5] .. ticket, id) end
  reply[#reply + 1] = outcome
end
if #ended > 0 then redis.call('PUBLISH', ARGV[3], table.concat(ended, ' ')) end
if #stopped > 0 then redis.call('PUBLISH', ARGV[4], table.concat(stopped, ' ')) end
if #queued > 0 then redis.call('PUBLISH', ARGV[6], table.concat(queued, ' ')) end
return reply
`;

/**
 * How far an execution is. Nobody need take it away again: it is that of one token, and shows only under the newest.
 *
 * KEYS job, outbox, subscribed
 * ARGV 1 id, 2 fencing token, 3 instances done, 4 of how many, 5 channel
 * Reply 1, or 0 when the job is no longer run under this token
 */
export const REPORT = `${TIME}${TELL}
local r = redis.call('HMGET', KEYS[1], 'status', 'starts', 'tenant', 'events', 'progressToldAt')
if r[1] ~= 'running' or r[2] ~= ARGV[2] then return 0 end
local now = time()
if now - tonumber(r[5] or '0') >= ${PROGRESS_PERIOD_MS} then
  redis.call('HSET', KEYS[1], 'progressToldAt', now)
  tell(KEYS[2], KEYS[3], r[3], r[4], 'job.progress', 'evt_' .. string.sub(ARGV[1], 5) .. '-progress-' .. now, ARGV[1], now)
end
redis.call('HSET', KEYS[1], 'progress', ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[1])
return 1
`;

/**
 * Forgets a job that has ended, with all that it held.
 *
 * KEYS job, tenant's jobs, agenda
 * ARGV 1 id
 * Reply erased | its status when it has not ended | gone
 */
export const ERASE = `
local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' or status == 'running' then return status end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return status and 'erased' or 'gone'
`;
