-- Gives heldTicket(): who holds a ticket. `queue` is the open hash of the queue, whose `held:<ticket>` is
-- "<tenure> <turn> <id of the last job that was sent to it, or ->".

--- @include "open-hash"

-- Returns the tenure, its last turn and the id of the last job that was sent to it; nil when nobody holds the ticket.
local function heldTicket(queue, ticket)
  return string.match(queue.get('held:' .. ticket), '^(%S+) (%d+) (%S+)$')
end
