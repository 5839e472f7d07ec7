-- Gives callWorker(): what calls a worker to a queue, whose open hash is `queue`. One that stands by is rung; where none does, a
-- ticket makes the transport call one. All workers may be busy, and a ticket out for long: the one that has room first is rung
-- all the same.

--- @include "ring-worker"
--- @include "wake-ticket"

-- Calls a worker. Returns the ticket to hand to the transport, '' when a worker was rung or a call is out. A script that leaves
-- jobs waiting must call this.
local function callWorker(queue, now)
  return ring(queue, now) and '' or giveTicket(queue, now)
end
