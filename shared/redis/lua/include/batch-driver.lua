-- Gives isDriver(): the driver of a batch holds its newest token; an older driver has lost the batch.

local function isDriver(batchKey, token)
  local batch = redis.call('HMGET', batchKey, 'token', 'status')
  return batch[1] == token and (batch[2] == 'running' or batch[2] == 'canceling')
end
