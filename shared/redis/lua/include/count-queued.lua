-- Gives countQueued(): keeps the number of queued jobs and the bytes of their input, by tenant and by model.
-- Needs the include "shadow-tenant".

--- @include "shadow-tenant"

-- Copies for a shadow take no room of the model's.
local function countQueued(queuedKey, tenant, model, jobs, bytes)
  redis.call('HINCRBY', queuedKey, 'tenant:' .. tenant, jobs)
  redis.call('HINCRBY', queuedKey, 'tenant-bytes:' .. tenant, bytes)
  if tenant == SHADOW_TENANT then return end
  redis.call('HINCRBY', queuedKey, 'model:' .. model, jobs)
  redis.call('HINCRBY', queuedKey, 'model-bytes:' .. model, bytes)
end
