-- Adds to counts that are kept of a version, unless it is gone.
--
-- Reply nothing

--- @include "version-gate"

local countsKey = KEYS[1] -- hash: the counts
local modelKey = KEYS[2] -- hash: versions, their states, aliases
local numbersKey = KEYS[3] -- hash: the highest version number of each model that was deleted
local model = ARGV[1]
local version = ARGV[2]

local FIRST_COUNT = 3 -- for each: field, count

if closedBy(modelKey, numbersKey, model, version, true) then return end
for i = FIRST_COUNT, #ARGV, 2 do
  local field, count = unpack(ARGV, i, i + 1)
  redis.call('HINCRBY', countsKey, field, count)
end
