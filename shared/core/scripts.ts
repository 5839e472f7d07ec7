/**
 * The scripts that move a job between states. Nothing else writes a record's `status`.
 *
 * Each is one atomic step with a compare-and-set in front, and takes the time from Redis, so that no worker's clock
 * decides. Replies of numbers come as strings. Keys of jobs are made from their ids: all keys share one hash tag.
 */

/** Until a queued record is first looked at by upkeep, which repairs a ticket that was lost after the record was written. */
export const CHECK_QUEUED_AFTER_MS = 5000;
/** How often a queued or running record is looked at after that. */
export const CHECK_MS = 60_000;
/** A ticket that nobody took for so long is taken for lost and another given out. Should it turn up, it does no harm. */
export const TICKET_LOST_MS = 2000;

const TIME = `
local function time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
`;

/** The ticket to hand to the transport, '' when one is out. To be called whenever jobs are left waiting. */
const GIVE_TICKET = `
local function give_ticket(tickets, now)
  local at = redis.call('HGET', tickets, 'outSince')
  if at and now - tonumber(at) < ${TICKET_LOST_MS} then return '' end
  local ticket = 't' .. redis.call('HINCRBY', tickets, 'given', 1)
  redis.call('HSET', tickets, 'out', ticket, 'outSince', now)
  return ticket
end
`;

/**
 * Ends a job: 'settled', or its present status ('gone' without a record) when it is not in one of the states `from`
 * (",queued,running,") or not under this fencing token ('' = any).
 * Needs KEYS 1 waiting, 2 agenda, 3 queued, 4 outbox.
 */
const FINISH = `
local function finish(job, id, model, from, token, status, ending, output, kept, now)
  local r = redis.call('HMGET', job, 'status', 'starts', 'tenant', 'events')
  if not r[1] then return 'gone' end
  if not string.find(from, ',' .. r[1] .. ',', 1, true) then return r[1] end
  if token ~= '' and token ~= r[2] then return r[1] end
  local deleted = now + kept * 1000
  redis.call('HSET', job, 'status', status, 'finishedAt', now, 'deletedAfter', deleted, 'end', ending)
  if output ~= '' then redis.call('HSET', job, 'output', output) end
  redis.call('PEXPIREAT', job, deleted + 3600000)
  redis.call('ZADD', KEYS[2], deleted, id)
  if r[1] == 'queued' then
    redis.call('ZREM', KEYS[1], id)
    redis.call('HINCRBY', KEYS[3], 'tenant:' .. r[3], -1)
    redis.call('HINCRBY', KEYS[3], 'model:' .. model, -1)
  end
  if string.find(r[4], ',job.' .. status .. ',', 1, true) then
    redis.call('XADD', KEYS[4], '*', 'id', 'evt_' .. string.sub(id, 5), 'type', 'job.' .. status, 'job', id, 'at', now)
  end
  return 'settled'
end
`;

/**
 * KEYS job, waiting, agenda, tenant's jobs, queued, tickets, idempotency
 * ARGV 1 id, 2 tenant, 3 model, 4 spec, 5 input, 6 instances, 7 ttlMs, 8 priority rank, 9 events (",job.failed," or ""),
 *      10 most queued per tenant, 11 most queued per model, 12 fingerprint ("" = no Idempotency-Key),
 *      13 seconds an Idempotency-Key is kept
 * Reply {created, now, ticket to hand over or ""} | {replayed, id} | {mismatch} | {tenant_full} | {model_full}
 */
export const SUBMIT = `${TIME}${GIVE_TICKET}
if ARGV[12] ~= '' then
  local known = redis.call('HMGET', KEYS[7], 'fingerprint', 'job')
  if known[1] then
    if known[1] ~= ARGV[12] then return {'mismatch'} end
    return {'replayed', known[2]}
  end
end
local queued = redis.call('HMGET', KEYS[5], 'tenant:' .. ARGV[2], 'model:' .. ARGV[3])
if tonumber(queued[1] or '0') >= tonumber(ARGV[10]) then return {'tenant_full'} end
if tonumber(queued[2] or '0') >= tonumber(ARGV[11]) then return {'model_full'} end
local now = time()
local expires = now + tonumber(ARGV[7])
redis.call('HSET', KEYS[1], 'status', 'queued', 'tenant', ARGV[2], 'spec', ARGV[4], 'input', ARGV[5], 'instances', ARGV[6],
  'events', ARGV[9], 'createdAt', now, 'expiresAt', expires, 'attempts', 0, 'starts', 0)
redis.call('ZADD', KEYS[2], ARGV[8] * 1e13 + now, ARGV[1])
redis.call('ZADD', KEYS[3], math.min(now + ${CHECK_QUEUED_AFTER_MS}, expires), ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[1])
redis.call('HINCRBY', KEYS[5], 'tenant:' .. ARGV[2], 1)
redis.call('HINCRBY', KEYS[5], 'model:' .. ARGV[3], 1)
if ARGV[12] ~= '' then
  redis.call('HSET', KEYS[7], 'fingerprint', ARGV[12], 'job', ARGV[1])
  redis.call('EXPIRE', KEYS[7], ARGV[13])
end
return {'created', tostring(now), give_ticket(KEYS[6], now)}
`;

/**
 * KEYS waiting, tickets
 * Reply the ticket to hand over, "" when none is needed
 */
export const RECALL = `${TIME}${GIVE_TICKET}
if redis.call('ZCARD', KEYS[1]) == 0 then return '' end
return give_ticket(KEYS[2], time())
`;

/** Rounds of looking for jobs in one start: bounds the work when many have expired. */
const MAX_ROUNDS = 4;

/**
 * KEYS waiting, agenda, queued, outbox, tickets, taken under this ticket
 * ARGV 1 ticket, 2 most instances, 3 most bytes of input, 4 most starts of a job, 5 prefix of jobs' keys, 6 model,
 *      7 end of an expired job, 8 end of a lost job, 9 seconds kept, 10 channel
 * Reply {ticket to hand over or "", then for each job: id, fencing token, spec, input}
 *
 * What was taken under this ticket and has not ended was left behind by a worker that died or lost its lock: it is started
 * again under a new token, which makes the old execution's result void, and costs no attempt. Then the ticket is filled up
 * from those waiting. The first job is taken whatever its size.
 */
export const START = `${TIME}${GIVE_TICKET}${FINISH}
local now = time()
local reply = {''}
local ended = {}
local instances, bytes = tonumber(ARGV[2]), tonumber(ARGV[3])

local function hand_out(id, r)
  local token = redis.call('HINCRBY', ARGV[5] .. id, 'starts', 1)
  redis.call('ZADD', KEYS[2], now + ${CHECK_MS}, id)
  instances = instances - tonumber(r[3])
  bytes = bytes - #r[5]
  reply[#reply + 1] = id
  reply[#reply + 1] = tostring(token)
  reply[#reply + 1] = r[4]
  reply[#reply + 1] = r[5]
end

local function take(id)
  local job = ARGV[5] .. id
  local r = redis.call('HMGET', job, 'expiresAt', 'tenant', 'instances', 'spec', 'input')
  if not r[1] then
    redis.call('ZREM', KEYS[1], id)
  elseif now >= tonumber(r[1]) then
    finish(job, id, ARGV[6], ',queued,', '', 'expired', ARGV[7], '', ARGV[9], now)
    ended[#ended + 1] = id
  elseif #reply > 1 and #r[5] > bytes then
    bytes = 0
  else
    redis.call('HSET', job, 'status', 'running', 'startedAt', now, 'ticket', ARGV[1])
    redis.call('HINCRBY', job, 'attempts', 1)
    redis.call('ZREM', KEYS[1], id)
    redis.call('HINCRBY', KEYS[3], 'tenant:' .. r[2], -1)
    redis.call('HINCRBY', KEYS[3], 'model:' .. ARGV[6], -1)
    redis.call('SADD', KEYS[6], id)
    hand_out(id, r)
  end
end

local function take_again(id)
  local job = ARGV[5] .. id
  local r = redis.call('HMGET', job, 'status', 'starts', 'instances', 'spec', 'input')
  if r[1] ~= 'running' then
    redis.call('SREM', KEYS[6], id)
  elseif tonumber(r[2]) >= tonumber(ARGV[4]) then
    finish(job, id, ARGV[6], ',running,', '', 'failed', ARGV[8], '', ARGV[9], now)
    redis.call('SREM', KEYS[6], id)
    ended[#ended + 1] = id
  else
    hand_out(id, r)
  end
end

if redis.call('HGET', KEYS[5], 'out') == ARGV[1] then redis.call('HDEL', KEYS[5], 'out', 'outSince') end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[6])) do take_again(id) end
for _ = 1, ${MAX_ROUNDS} do
  if instances <= 0 or bytes <= 0 then break end
  local ids = redis.call('ZRANGE', KEYS[1], 0, instances - 1)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    if instances > 0 and bytes > 0 then take(id) end
  end
end
if #ended > 0 then redis.call('PUBLISH', ARGV[10], table.concat(ended, ' ')) end
if redis.call('ZCARD', KEYS[1]) > 0 then reply[1] = give_ticket(KEYS[5], now) end
return reply
`;

/**
 * KEYS waiting, agenda, queued, outbox
 * ARGV 1 prefix of jobs' keys, 2 model, 3 seconds kept, 4 channel, 5 prefix of the keys of what is taken;
 *      then for each job: id, ticket it was taken under ("" = none), states it may come from, fencing token ("" = any),
 *      terminal status, end, output ("" = none)
 * Reply for each job: settled | its present status or "gone"
 */
export const SETTLE = `${TIME}${FINISH}
local now = time()
local reply = {}
local ended = {}
for i = 6, #ARGV, 7 do
  local id = ARGV[i]
  local outcome = finish(ARGV[1] .. id, id, ARGV[2], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[3], now)
  if outcome == 'settled' then ended[#ended + 1] = id end
  -- Still running: under a newer token, and thus in newer hands.
  if ARGV[i + 1] ~= '' and outcome ~= 'running' then redis.call('SREM', ARGV[5] .. ARGV[i + 1], id) end
  reply[#reply + 1] = outcome
end
if #ended > 0 then redis.call('PUBLISH', ARGV[4], table.concat(ended, ' ')) end
return reply
`;
