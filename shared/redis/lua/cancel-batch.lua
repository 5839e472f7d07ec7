-- Asks the driver of a batch to end it.
--
-- Reply the status that the batch then has, "gone" without one

local batchKey = KEYS[1] -- hash: the record of the batch

local status = redis.call('HGET', batchKey, 'status')
if status ~= 'queued' and status ~= 'running' then return status or 'gone' end
redis.call('HSET', batchKey, 'status', 'canceling')
return 'canceling'
