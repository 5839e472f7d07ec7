-- Gives the wake tickets of a queue: a ticket makes the transport call a worker, and at most one is out.

-- A ticket that nobody took for so long counts as lost, and another is given out. Should the first turn up, it does no harm.
local TICKET_LOST_MS = 2000

-- Returns the ticket to hand to the transport, '' when one is out. A script that leaves jobs waiting must call this.
local function giveTicket(queueKey, now)
  local since = redis.call('HGET', queueKey, 'outSince')
  if since and now - tonumber(since) < TICKET_LOST_MS then return '' end
  local ticket = 't' .. redis.call('HINCRBY', queueKey, 'given', 1)
  redis.call('HSET', queueKey, 'out', ticket, 'outSince', now)
  return ticket
end

-- Returns the ticket that is out, '' when none is. The caller that got it may not have heard of it, and the transport does
-- nothing with a ticket that it holds already.
local function ticketOut(queueKey)
  return redis.call('HGET', queueKey, 'out') or ''
end
