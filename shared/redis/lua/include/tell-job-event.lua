-- Gives tellJobEvent(): writes an event of a job into the outbox, if the job's own webhook (`events`, ",job.failed,") or an
-- endpoint of its tenant wants it. It runs in the same step as the change, so no event is lost or invented.

--- @include "open-hash"

-- The `events` of a job whose events go to nobody: the EVENTS_OF_NONE of shared/core/jobs/submission/job-writer.ts.
local EVENTS_OF_NONE = 'none'

-- `subscribed` is the open hash of the events that each tenant's endpoints want.
local function tellJobEvent(outboxKey, subscribed, tenant, events, type, id, job, now)
  if events == EVENTS_OF_NONE then return end
  local name = ',' .. type .. ','
  local isWanted = string.find(events, name, 1, true) or string.find(subscribed.get(tenant), name, 1, true)
  if isWanted then redis.call('XADD', outboxKey, '*', 'id', id, 'type', type, 'job', job, 'at', now) end
end
