-- Gives tellStarted(): writes the event of a start into the outbox, if anybody wants it; arguments as those of tellJobEvent().

--- @include "tell-job-event"

local function tellStarted(outboxKey, subscribed, tenant, events, job, attempt, now)
  local id = 'evt_' .. string.sub(job, 5) .. '-started-' .. attempt
  tellJobEvent(outboxKey, subscribed, tenant, events, 'job.started', id, job, now)
end
