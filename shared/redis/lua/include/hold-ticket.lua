-- Gives holdTicket(): whether a tenure of a ticket goes on. A tenure is the time for which one worker holds a ticket; whoever gets the
-- ticket next begins another. `queue` is the open hash of the queue.

--- @include "open-hash"

-- Returns 'held'; 'lost' when another tenure of the ticket has begun or this one has ended; 'behind' when this very turn was
-- taken before, so that the worker may not know what it started. `begins` is '1' for a turn that takes over whatever the ticket has.
local function holdTicket(queue, ticket, tenure, turn, begins)
  local field = 'held:' .. ticket
  local holder, lastTurn = string.match(queue.get(field), '^(%S+) (%d+)$')
  if begins ~= '1' and holder ~= tenure then return 'lost' end
  if begins ~= '1' and tonumber(turn) <= tonumber(lastTurn) then return 'behind' end
  queue.set(field, tenure .. ' ' .. turn)
  return 'held'
end
