-- Gives ring(): rings a worker that stands by (stand-by.lua). `queue` is the open hash of the queue.

--- @include "call-lost"
--- @include "open-hash"

-- Rings the worker that came last, whose memory is warm. Returns whether one is called; one that nobody hears is passed over.
local function ring(queue, now)
  if queue.get('rung') ~= '' and isCallOut(queue.number('rungAt'), now) then return true end
  while queue.get('standby') ~= '' do
    local bell, tenure, others = string.match(queue.get('standby'), '^([^ \n]+) ([^ \n]+)\n(.*)$')
    queue.set('standby', others)
    if redis.call('PUBLISH', bell, tenure) > 0 then
      queue.set('rung', tenure)
      queue.set('rungAt', now)
      return true
    end
  end
  return false
end
