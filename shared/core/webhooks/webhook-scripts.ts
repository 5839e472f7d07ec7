/**
 * The scripts of endpoints and deliveries. Nothing else writes a delivery's `status` or whether an endpoint is enabled.
 *
 * Each is one atomic step that may be sent twice (a client of Redis repeats what a broken connection left unanswered).
 */
import { QUIET_MS } from '../../contract/webhooks/endpoint.js';
import { IDEMPOTENCY, TIME } from '../jobs/script-parts.js';

/** A delivery that should have been attended to is looked for so long after: more than an attempt takes. */
export const LOOK_AFTER_MS = 20_000;
/** Attempts that are kept; a schedule has ten, replays add to them. */
const ATTEMPTS_KEPT = 50;
/** Of a log that is over its bound, which may have been lowered, so many go at once at most. */
const MOST_FORGOTTEN = 100;

/** What a tenant's endpoints together want to be told, where who ends a job looks. */
const SUBSCRIBE = `
local function subscribe(subscribed, endpoints, prefix, tenant)
  local seen, all = {}, ','
  for _, id in ipairs(redis.call('ZRANGE', endpoints, 0, -1)) do
    for type in string.gmatch(redis.call('HGET', prefix .. id, 'events') or '', '[^,]+') do
      if not seen[type] then all = all .. type .. ',' end
      seen[type] = true
    end
  end
  if all == ',' then redis.call('HDEL', subscribed, tenant) else redis.call('HSET', subscribed, tenant, all) end
end
`;

/**
 * KEYS endpoint, tenant's endpoints, subscribed, idempotency
 * ARGV 1 id, 2 tenant, 3 prefix of endpoints' keys, 4 most endpoints, 5 fingerprint ("" = no Idempotency-Key),
 *      6 seconds an Idempotency-Key is kept, then fields and values
 * Reply {created} | {replayed, id} | {mismatch} | {full}
 */
export const CREATE_ENDPOINT = `${TIME}${SUBSCRIBE}${IDEMPOTENCY}
local before = used_before(KEYS[4], 'endpoint', ARGV[5], KEYS[1], ARGV[1])
if before then return before end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'created'} end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return {'full'} end
redis.call('HSET', KEYS[1], 'createdAt', time(), unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], 0, ARGV[1])
subscribe(KEYS[3], KEYS[2], ARGV[3], ARGV[2])
use(KEYS[4], 'endpoint', ARGV[5], ARGV[1], ARGV[6])
return {'created'}
`;

/**
 * KEYS endpoint, tenant's endpoints, subscribed, held, endpoints with something to release
 * ARGV 1 id, 2 tenant, 3 prefix of endpoints' keys, 4 now, 5 "" or whether it is enabled ("1", "0"), then fields and values
 * Reply 1, 0 when there is no such endpoint
 */
export const CHANGE_ENDPOINT = `${SUBSCRIBE}
local enabled = redis.call('HGET', KEYS[1], 'enabled')
if not enabled then return 0 end
if #ARGV > 5 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
if ARGV[5] == '1' and enabled == '0' then
  redis.call('HSET', KEYS[1], 'enabled', '1')
  redis.call('HDEL', KEYS[1], 'disabledAt', 'disabledReason', 'failingSince', 'lastFailureAt')
  if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('SADD', KEYS[5], ARGV[1]) end
elseif ARGV[5] == '0' and enabled == '1' then
  redis.call('HSET', KEYS[1], 'enabled', '0', 'disabledAt', ARGV[4], 'disabledReason', 'paused')
  redis.call('SREM', KEYS[5], ARGV[1])
end
subscribe(KEYS[3], KEYS[2], ARGV[3], ARGV[2])
return 1
`;

/**
 * KEYS endpoint
 * ARGV 1 secrets as they were read, 2 as they are from now on
 * Reply 1, 0 when they are others now. Whoever did not hear of it is told once more, and does not rotate a second time.
 */
export const ROTATE_ENDPOINT = `
local secrets = redis.call('HGET', KEYS[1], 'secrets')
if secrets == ARGV[2] then return 1 end
if secrets ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'secrets', ARGV[2])
return 1
`;

/** The same for the secrets of a tenant's own. */
export const ROTATE_TENANT = `
local secrets = redis.call('GET', KEYS[1])
if secrets == ARGV[2] then return 1 end
if secrets ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
`;

/**
 * KEYS endpoint, tenant's endpoints, subscribed, held, endpoints with something to release
 * ARGV 1 id, 2 tenant, 3 prefix of endpoints' keys
 * Reply 1, 0 when there was none
 */
export const REMOVE_ENDPOINT = `${SUBSCRIBE}
local removed = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('SREM', KEYS[5], ARGV[1])
subscribe(KEYS[3], KEYS[2], ARGV[3], ARGV[2])
return removed
`;

/**
 * KEYS delivery, log, agenda, endpoint (of an endpoint's), those of the log that have ended
 * ARGV 1 id, 2 milliseconds it is kept, 3 nextAt, 4 the least id that a log keeps, 5 most entries of a log,
 *      6 prefix of deliveries' keys, 7 prefix of their attempts' keys, 8 endpoint ("" = none), then fields and values
 * Reply made | the status of one that was made before | dropped where the log is full
 *
 * A full log forgets what has ended, the oldest first. Where all are pending nothing is added, so that a receiver which is
 * away does not fill Redis; its endpoint counts what was dropped.
 */
export const CREATE_DELIVERY = `
local known = redis.call('HGET', KEYS[1], 'status')
if known then return known end
redis.call('ZREMRANGEBYLEX', KEYS[2], '-', '(' .. ARGV[4])
redis.call('ZREMRANGEBYLEX', KEYS[5], '-', '(' .. ARGV[4])
local over = math.min(redis.call('ZCARD', KEYS[2]) + 1 - ARGV[5], ${MOST_FORGOTTEN})
local forgotten = over > 0 and redis.call('ZRANGE', KEYS[5], 0, over - 1) or {}
if #forgotten < over then
  if ARGV[8] ~= '' and redis.call('EXISTS', KEYS[4]) == 1 then redis.call('HINCRBY', KEYS[4], 'dropped', 1) end
  return 'dropped'
end
for _, id in ipairs(forgotten) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[5], id)
  redis.call('DEL', ARGV[6] .. id, ARGV[7] .. id)
end
redis.call('HSET', KEYS[1], 'status', 'pending', 'attempts', 0, 'nextAt', ARGV[3], unpack(ARGV, 9))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3] + ${LOOK_AFTER_MS}, ARGV[1])
return 'made'
`;

/**
 * KEYS delivery, its attempts, agenda, endpoint (of an endpoint's), outbox, subscribed, those of its log that have ended
 * ARGV 1 id, 2 status that follows, 3 nextAt, 4 the attempt, 5 the attempt with all that was answered, 6 now,
 *      7 endpoint ("" = none), 8 "gone" where the receiver answered 410, 9 milliseconds without success that disable, 10 attempts before,
 *      11 milliseconds a delivery is kept, 12 when the attempt was due
 * Reply {status of the delivery, nextAt} or {status, nextAt, reason for which its endpoint was disabled}; {} when it is gone or
 *       has ended. Who asked for a replay during the attempt gets one more, unless this was a success.
 */
export const RECORD_ATTEMPT = `
local d = redis.call('HMGET', KEYS[1], 'status', 'once', 'tenant', 'attempts', 'lastAttempt', 'nextAt')
if d[5] == ARGV[5] then return {d[1], d[6]} end
if d[1] ~= 'pending' or d[4] ~= ARGV[10] then return {} end
local status, next_at = ARGV[2], ARGV[3]
if status ~= 'delivered' and d[2] then status = d[2] end
redis.call('HDEL', KEYS[1], 'once')
if ARGV[2] ~= 'delivered' and tonumber(d[6]) > tonumber(ARGV[12]) then
  if status ~= 'pending' then redis.call('HSET', KEYS[1], 'once', status) end
  status, next_at = 'pending', d[6]
end
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'status', status, 'nextAt', next_at, 'lastAttempt', ARGV[5])
redis.call('RPUSH', KEYS[2], ARGV[4])
redis.call('LTRIM', KEYS[2], -${ATTEMPTS_KEPT}, -1)
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[1]), 1))
if status == 'pending' then
  redis.call('ZADD', KEYS[3], next_at + ${LOOK_AFTER_MS}, ARGV[1])
else
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('ZADD', KEYS[7], 0, ARGV[1])
  redis.call('PEXPIRE', KEYS[7], ARGV[11])
end
if ARGV[7] == '' then return {status, next_at} end
local enabled = redis.call('HGET', KEYS[4], 'enabled')
if not enabled then return {status, next_at} end
if ARGV[2] == 'delivered' then
  redis.call('HDEL', KEYS[4], 'failingSince', 'lastFailureAt')
  redis.call('HSET', KEYS[4], 'lastSuccessAt', ARGV[6])
  return {status, next_at}
end
local last = redis.call('HGET', KEYS[4], 'lastFailureAt')
if not last or tonumber(ARGV[6]) - tonumber(last) > ${QUIET_MS} then redis.call('HDEL', KEYS[4], 'failingSince') end
redis.call('HSET', KEYS[4], 'lastFailureAt', ARGV[6])
redis.call('HSETNX', KEYS[4], 'failingSince', ARGV[6])
local since = tonumber(redis.call('HGET', KEYS[4], 'failingSince'))
local reason = ARGV[8] ~= '' and 'gone' or tonumber(ARGV[6]) - since >= tonumber(ARGV[9]) and 'failing' or nil
if not reason or enabled == '0' then return {status, next_at} end
redis.call('HSET', KEYS[4], 'enabled', '0', 'disabledAt', ARGV[6], 'disabledReason', reason)
local wanted = redis.call('HGET', KEYS[6], d[3])
if wanted and string.find(wanted, ',endpoint.disabled,', 1, true) then
  local id = 'evt_' .. ARGV[7] .. '-disabled-' .. ARGV[6]
  redis.call('XADD', KEYS[5], '*', 'id', id, 'type', 'endpoint.disabled', 'endpoint', ARGV[7], 'at', ARGV[6])
end
return {status, next_at, reason}
`;

/**
 * Takes a delivery out of everybody's hands until its endpoint is enabled again.
 *
 * KEYS delivery, endpoint, agenda, held
 * ARGV 1 id
 * Reply 1 when it is held, 0 when it is to be attempted after all, or has ended
 */
export const HOLD = `
if redis.call('HGET', KEYS[1], 'status') ~= 'pending' or redis.call('HGET', KEYS[2], 'enabled') ~= '0' then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return 1
`;

/**
 * KEYS endpoint, held, endpoints with something to release, agenda
 * ARGV 1 endpoint, 2 how many at most, 3 when they are looked for
 * Reply ids of those that are to be attempted now
 */
export const RELEASE = `
local ids = redis.call('HGET', KEYS[1], 'enabled') == '1' and redis.call('SPOP', KEYS[2], ARGV[2]) or {}
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[4], ARGV[3], id) end
if #ids < tonumber(ARGV[2]) then redis.call('SREM', KEYS[3], ARGV[1]) end
return ids
`;

/**
 * One more attempt, now. Of one that is pending, the next of its schedule. Somebody waits for it, so it comes before all
 * that is overdue.
 *
 * KEYS delivery, agenda, those of its log that have ended
 * ARGV 1 id, 2 now
 * Reply 1, 0 when it is gone
 */
export const REPLAY = `
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 0 end
if status ~= 'pending' then redis.call('HSET', KEYS[1], 'status', 'pending', 'once', status) end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[1], 'nextAt', ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
`;
