/**
 * Functions that the scripts share, in Lua. A script begins with those it calls.
 */

import { SHADOW_TENANT } from '../../contract/job.js';

/** A ticket that nobody took for so long is taken for lost and another given out. Should it turn up, it does no harm. */
export const TICKET_LOST_MS = 2000;
/** Time over which the rate of starting is averaged (exponentially). */
const RATE_MEMORY_MS = 10_000;
/** Each priority has so much room for tags: orders of magnitude more than instances will ever be run. */
export const LANE = '1e13';

/** Redis' own clock, milliseconds since the Unix epoch. */
export const TIME = `
local function time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
`;

/**
 * What a call under an Idempotency-Key is answered, nil where it is to be carried out: the key is new, or this very call used
 * it. A client of Redis sends again what a broken connection left unanswered, and who took its own record for another's would
 * take away what that names. `noun` is the field that holds the id; an empty fingerprint stands for no key.
 */
export const IDEMPOTENCY = `
local function used_before(key, noun, fingerprint, record, id)
  if fingerprint == '' then return nil end
  local known = redis.call('HMGET', key, 'fingerprint', noun)
  if not known[1] then return nil end
  if known[1] ~= fingerprint then return {'mismatch'} end
  if known[2] == id and redis.call('EXISTS', record) == 1 then return nil end
  return {'replayed', known[2]}
end
local function use(key, noun, fingerprint, id, seconds)
  if fingerprint == '' then return end
  redis.call('HSET', key, 'fingerprint', fingerprint, noun, id)
  redis.call('EXPIRE', key, seconds)
end
`;

/**
 * `give_ticket`: the ticket to hand to the transport, '' when one is out. To be called whenever jobs are left waiting.
 * `ticket_out`: the one that is out, '' when none is. Whoever was given it may not have heard of it, and the transport does
 * nothing with one that it holds.
 */
export const GIVE_TICKET = `
local function give_ticket(queue, now)
  local since = redis.call('HGET', queue, 'outSince')
  if since and now - tonumber(since) < ${TICKET_LOST_MS} then return '' end
  local ticket = 't' .. redis.call('HINCRBY', queue, 'given', 1)
  redis.call('HSET', queue, 'out', ticket, 'outSince', now)
  return ticket
end
local function ticket_out(queue)
  return redis.call('HGET', queue, 'out') or ''
end
`;

/**
 * Where a job comes in its queue: first by priority, then by start tag, which shares the queue fairly between tenants
 * (Start-time Fair Queuing: Goyal, Vin, Cheng, 1996). A tenant's next tag lies `cost` (instances / weight) after its
 * last; one that had nothing queued begins at the tag of what is being started now.
 */
export const PLACE = `
local function place(queue, rank, tenant, cost)
  local last = 'tag:' .. rank .. ':' .. tenant
  local r = redis.call('HMGET', queue, 'tag:' .. rank, last)
  local tag = math.max(tonumber(r[1] or '0'), tonumber(r[2] or '0'))
  redis.call('HSET', queue, last, tag + cost)
  return rank * ${LANE} + tag
end
`;

/** Queued jobs and their bytes of input, by tenant and by model; copies for a shadow take no room of the model's. */
export const COUNT = `
local function count(queued, tenant, model, jobs, bytes)
  redis.call('HINCRBY', queued, 'tenant:' .. tenant, jobs)
  redis.call('HINCRBY', queued, 'tenant-bytes:' .. tenant, bytes)
  if tenant == '${SHADOW_TENANT}' then return end
  redis.call('HINCRBY', queued, 'model:' .. model, jobs)
  redis.call('HINCRBY', queued, 'model-bytes:' .. model, bytes)
end
`;

/** Rate of starting, measured only while jobs wait: what the workers can do, not what they are asked to. */
export const MEASURE = `
local function measure(queue, jobs, left, now)
  local r = redis.call('HMGET', queue, 'startedJobs', 'busyMs', 'measuredAt', 'backlog')
  local started, busy = tonumber(r[1] or '0'), tonumber(r[2] or '0')
  if r[4] == '1' then
    local passed = math.min(now - tonumber(r[3]), ${RATE_MEMORY_MS})
    local keep = math.exp(-passed / ${RATE_MEMORY_MS})
    started = started * keep + jobs
    busy = busy * keep + passed
  end
  redis.call('HSET', queue, 'startedJobs', started, 'busyMs', busy, 'measuredAt', now, 'backlog', left and 1 or 0)
end
`;

/** `events` of a job of which nobody is told anything. */
export const TOLD_TO_NOBODY = 'none';

/**
 * Writes an event of a job into the outbox, if the job's own webhook (`events`, ",job.failed,") or an endpoint of its tenant is
 * to be told. In the same step as what happened, so that no event is lost or invented.
 */
export const TELL = `
local function tell(outbox, subscribed, tenant, events, type, id, job, now)
  if events == '${TOLD_TO_NOBODY}' then return end
  local name = ',' .. type .. ','
  if not string.find(events, name, 1, true) then
    local wanted = redis.call('HGET', subscribed, tenant)
    if not wanted or not string.find(wanted, name, 1, true) then return end
  end
  redis.call('XADD', outbox, '*', 'id', id, 'type', type, 'job', job, 'at', now)
end
`;

/**
 * Ends a job: 'settled', or its present status ('gone' without a record) when it is not in one of the states `from`
 * (",queued,running,") or not under this fencing token ('' = any). An execution that has ended it so already, and did not
 * hear of it, is told 'settled', without what it was before.
 * Needs KEYS 1 waiting, 2 agenda, 3 queued, 4 outbox, 5 subscribed, and COUNT and TELL.
 */
export const FINISH = `
local function finish(job, id, model, from, token, status, ending, output, now)
  local r = redis.call('HMGET', job, 'status', 'starts', 'tenant', 'events', 'bytes', 'keptSeconds')
  if not r[1] then return 'gone' end
  if not string.find(from, ',' .. r[1] .. ',', 1, true) then
    local isOwn = token ~= '' and token == r[2] and status == r[1] and redis.call('HGET', job, 'end') == ending
    return isOwn and 'settled' or r[1]
  end
  if token ~= '' and token ~= r[2] then return r[1] end
  local deleted = now + r[6] * 1000
  redis.call('HSET', job, 'status', status, 'finishedAt', now, 'deletedAfter', deleted, 'end', ending)
  if output ~= '' then redis.call('HSET', job, 'output', output) end
  redis.call('PEXPIREAT', job, deleted + 3600000)
  redis.call('ZADD', KEYS[2], deleted, id)
  if r[1] == 'queued' then
    redis.call('ZREM', KEYS[1], id)
    count(KEYS[3], r[3], model, -1, -r[5])
  end
  tell(KEYS[4], KEYS[5], r[3], r[4], 'job.' .. status, 'evt_' .. string.sub(id, 5), id, now)
  return 'settled', r[1]
end
`;
