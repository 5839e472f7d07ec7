-- Gives callMany(): a command with any number of arguments after its key. Lua passes a function 8,000 values at most.

local MOST_VALUES = 4000

-- Values that belong together come in pairs at most, so a cut at an even place parts none.
local function callMany(command, key, values)
  for first = 1, #values, MOST_VALUES do
    redis.call(command, key, unpack(values, first, math.min(first + MOST_VALUES - 1, #values)))
  end
end
