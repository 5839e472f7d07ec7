-- Gives tellJobEvent(): writes an event of a job into the outbox, if the job's own webhook (`events`, ",job.failed,") or an
-- endpoint of its tenant wants it. It runs in the same step as the change, so no event is lost or invented.

-- The `events` of a job whose events go to nobody: the EVENTS_OF_NONE of shared/core/jobs/submission/job-writer.ts.
local EVENTS_OF_NONE = 'none'

local function tellJobEvent(outboxKey, subscribedKey, tenant, events, type, id, job, now)
  if events == EVENTS_OF_NONE then return end
  local name = ',' .. type .. ','
  if not string.find(events, name, 1, true) then
    local wanted = redis.call('HGET', subscribedKey, tenant)
    if not wanted or not string.find(wanted, name, 1, true) then return end
  end
  redis.call('XADD', outboxKey, '*', 'id', id, 'type', type, 'job', job, 'at', now)
end
