-- Gives standBy() and standDown(): a worker that holds a ticket of a queue, and has room, waits to be rung on its own channel.
-- `queue` is the open hash of the queue, `bell` the channel.

--- @include "open-hash"

-- Names one that stands by: its channel and its tenure.
local function nameOf(bell, tenure)
  return bell .. ' ' .. tenure .. '\n'
end

-- The worker waits no more to be rung, and answers the ring that may be out.
local function standDown(queue, bell, tenure)
  local standing, name = queue.get('standby'), nameOf(bell, tenure)
  local first, last = string.find(standing, name, 1, true)
  if first then queue.set('standby', string.sub(standing, 1, first - 1) .. string.sub(standing, last + 1)) end
  if queue.get('rung') == tenure then queue.set('rung', '') end
end

-- Who comes last stands first, where a ring finds it at once, however many stand by.
local function standBy(queue, bell, tenure)
  queue.set('standby', nameOf(bell, tenure) .. queue.get('standby'))
end
