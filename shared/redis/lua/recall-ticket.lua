-- Returns the ticket to hand to the transport for the jobs that wait in a queue, even one that is out.
--
-- Reply the ticket, "" when none is needed

--- @include "redis-time"
--- @include "wake-ticket"

local waitingKey = KEYS[1]
local queueKey = KEYS[2]
local pausedKey = KEYS[3]
local model = ARGV[1]

if redis.call('ZCARD', waitingKey) == 0 or redis.call('HEXISTS', pausedKey, model) == 1 then return '' end
local ticket = giveTicket(queueKey, redisTime())
return ticket ~= '' and ticket or ticketOut(queueKey)
