-- Gives ring(): rings a worker that stands by (stand-by.lua). `queue` is the open hash of the queue.

--- @include "call-lost"
--- @include "standing"

-- Rings the worker that came last, whose memory is warm. Returns whether one is called; one that nobody hears is passed over.
local function ring(queue, now)
  if queue.get('rung') ~= '' and isCallOut(queue.number('rungAt'), now) then return true end
  for worker in standing, queue do
    queue.set('standby', worker.others)
    if redis.call('PUBLISH', worker.bell, worker.tenure) > 0 then
      queue.set('rung', worker.tenure)
      queue.set('rungAt', now)
      return true
    end
  end
  return false
end
