-- Gives the wake tickets of a queue, whose open hash is `queue`: a ticket makes the transport call a worker, and at most one is
-- out.

--- @include "call-lost"
--- @include "open-hash"

-- Returns the ticket to hand to the transport, '' when one is out. One that nobody took is handed over again: the transport does
-- nothing with a ticket that it holds.
local function giveTicket(queue, now)
  if queue.get('out') == '' then
    queue.add('given', 1)
    queue.set('out', 't' .. queue.number('given'))
  elseif isCallOut(queue.number('outSince'), now) then
    return ''
  end
  queue.set('outSince', now)
  return queue.get('out')
end

-- Returns the ticket that is out, '' when none is. The caller that got it may not have heard of it.
local function ticketOut(queue)
  return queue.get('out')
end
