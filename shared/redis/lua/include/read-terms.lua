-- Gives readTerms(): what scripts need to know of a job and never changes. One field holds all of it, because Redis pays for a field
-- when it writes, keeps and reads it.

-- `terms` are written by submit-jobs.lua. Returns tenant, instances, bytes of the input, cost, seconds that the job is kept after its
-- end, the channel of the process that waits for its end, and the events of its own webhook; "-" stands for none of the last two.
local function readTerms(terms)
  return string.match(terms, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
end
