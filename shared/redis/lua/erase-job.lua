-- Forgets a job that has ended, with everything that it held.
--
-- Reply erased | its status when it has not ended | gone

local jobKey = KEYS[1] -- hash: the record of the job
local tenantJobsKey = KEYS[2] -- sorted set: the tenant's jobs
local dueIndexKey = KEYS[3] -- sorted set: records by the time at which upkeep looks at them next
local id = ARGV[1]

local status = redis.call('HGET', jobKey, 'status')
if status == 'queued' or status == 'running' then return status end
redis.call('DEL', jobKey)
redis.call('ZREM', tenantJobsKey, id)
redis.call('ZREM', dueIndexKey, id)
return status and 'erased' or 'gone'
