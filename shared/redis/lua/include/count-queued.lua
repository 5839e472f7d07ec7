-- Gives countQueued(): keeps the number of queued jobs and the bytes of their input, by tenant and by model, in the open hash
-- `queued`.

--- @include "open-hash"
--- @include "shadow-tenant"

-- Copies for a shadow take no room of the model's.
local function countQueued(queued, tenant, model, jobs, bytes)
  local ofTenant, ofModel = 'tenant:' .. tenant, 'model:' .. model
  local tenantBytes, modelBytes = 'tenant-bytes:' .. tenant, 'model-bytes:' .. model
  queued.read(ofTenant, tenantBytes, ofModel, modelBytes)
  queued.add(ofTenant, jobs)
  queued.add(tenantBytes, bytes)
  if tenant == SHADOW_TENANT then return end
  queued.add(ofModel, jobs)
  queued.add(modelBytes, bytes)
end
