-- Gives standBy() and standDown(): a worker that holds a ticket of a queue, and has room, waits on its own channel to be rung or to
-- be sent a job. `queue` is the open hash of the queue, whose `standby` has a line for each:
-- "<bell> <tenure> <ticket> <room, in shares> <since>".

--- @include "open-hash"

-- The worker waits no more, and answers the ring that may be out.
local function standDown(queue, bell, tenure)
  local lines, name = queue.get('standby'), bell .. ' ' .. tenure .. ' '
  local first = string.find(lines, name, 1, true)
  if first then queue.set('standby', string.sub(lines, 1, first - 1) .. string.match(lines, '\n(.*)$', first)) end
  if queue.get('rung') == tenure then queue.set('rung', '') end
end

-- The worker that comes last stands first, where a ring finds it at once, however many stand by.
local function standBy(queue, bell, tenure, ticket, room, now)
  queue.set('standby', table.concat({bell, tenure, ticket, room, now}, ' ') .. '\n' .. queue.get('standby'))
end
