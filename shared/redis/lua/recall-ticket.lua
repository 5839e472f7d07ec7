-- Calls a worker to the jobs that wait in a queue, by all ways: whoever was called may be gone, and a ticket lost.
--
-- Reply the ticket to hand to the transport, even one that is out; "" when none is needed

--- @include "redis-time"
--- @include "ring-all"
--- @include "wake-ticket"

local waitingKey = KEYS[1] -- sorted set: queued jobs of the version, in starting order
local queueKey = KEYS[2] -- hash: state of the version's queue
local pausedKey = KEYS[3] -- hash: models of which no job is started
local model = ARGV[1]

if redis.call('ZCARD', waitingKey) == 0 or redis.call('HEXISTS', pausedKey, model) == 1 then return '' end
local queue = openHash(queueKey, 'given', 'out', 'outSince', 'standby')
ringAll(queue)
local ticket = giveTicket(queue, redisTime())
queue.close()
return ticket ~= '' and ticket or ticketOut(queue)
