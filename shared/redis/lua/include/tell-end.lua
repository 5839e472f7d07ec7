-- Gives tellEnd(): tells the process that waits for a job how it ended; shared/core/jobs/told-ends.ts reads it. `queue` is an
-- open queue.

-- The record of a larger output is read by whoever waits for it.
local MOST_TOLD_BYTES = 16384

-- `channel` is that of the process. An end that the record alone tells whole comes without words.
local function tellEnd(queue, channel, id, isWhole, words, ending, output)
  if not isWhole or #ending + #output > MOST_TOLD_BYTES then return queue.tell(channel, id .. '\n') end
  local line = id .. ' ' .. table.concat(words, ' ') .. ' ' .. #ending .. ' ' .. #output .. '\n'
  queue.tell(channel, line .. ending .. output)
end
