-- Gives the wake tickets of a queue, whose open hash is `queue`: a ticket makes the transport call a worker, and at most one is
-- out.

--- @include "open-hash"

-- A ticket that nobody took for so long counts as lost, and another is given out. Should the first turn up, it does no harm.
local TICKET_LOST_MS = 2000

-- Returns the ticket to hand to the transport, '' when one is out. A script that leaves jobs waiting must call this.
local function giveTicket(queue, now)
  if queue.get('out') ~= '' and now - queue.number('outSince') < TICKET_LOST_MS then return '' end
  queue.add('given', 1)
  queue.set('out', 't' .. queue.number('given'))
  queue.set('outSince', now)
  return queue.get('out')
end

-- Returns the ticket that is out, '' when none is. The caller that got it may not have heard of it, and the transport does
-- nothing with a ticket that it holds already.
local function ticketOut(queue)
  return queue.get('out')
end
