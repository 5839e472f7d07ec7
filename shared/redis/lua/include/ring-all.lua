-- Gives ringAll(): rings everybody who stands by (stand-by.lua), because those that were rung may be frozen. `queue` is the open hash
-- of the queue.

--- @include "open-hash"

local function ringAll(queue)
  for bell, tenure in string.gmatch(queue.get('standby'), '(%S+) (%S+)[^\n]*\n') do redis.call('PUBLISH', bell, tenure) end
  queue.set('standby', '')
end
