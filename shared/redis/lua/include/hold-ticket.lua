-- Gives holdTicket(): whether a tenure of a ticket goes on. A tenure is the time for which one worker holds a ticket; whoever gets the
-- ticket next begins another. `queue` is the open hash of the queue.

--- @include "held-ticket"

-- Returns 'held'; 'lost' when another tenure of the ticket has begun or this one has ended; 'behind' when this very turn was
-- taken before, so that the worker may not know what it started.
-- `begins` is '1' for a turn that takes over whatever the ticket has. Also returns the id of the last job that was sent, or '-'.
local function holdTicket(queue, ticket, tenure, turn, begins)
  local holder, lastTurn, sent = heldTicket(queue, ticket)
  if begins == '1' then
    if holder ~= tenure then sent = '-' end
  elseif holder ~= tenure then
    return 'lost', '-'
  elseif tonumber(turn) <= tonumber(lastTurn) then
    return 'behind', sent
  end
  queue.set('held:' .. ticket, tenure .. ' ' .. turn .. ' ' .. sent)
  return 'held', sent
end
