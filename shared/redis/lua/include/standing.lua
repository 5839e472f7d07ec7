-- Gives standing(): the worker that stands first of those that stand by (stand-by.lua). `queue` is the open hash of the queue.

--- @include "open-hash"

-- Returns {bell, tenure, ticket, room, since, others = the lines after}; nil when nobody stands by.
local function standing(queue)
  local bell, tenure, ticket, room, since, others =
    string.match(queue.get('standby'), '^(%S+) (%S+) (%S+) (%d+) (%d+)\n(.*)$')
  if not bell then return nil end
  return {bell = bell, tenure = tenure, ticket = ticket, room = tonumber(room), since = tonumber(since), others = others}
end
