-- Adds a part of the results to a batch.
--
-- A call that added the part and did not hear so gets `added` again. A part names its driver, so a later driver's part with
-- the same number is another.
--
-- Reply added | lost

--- @include "batch-driver"

local batchKey = KEYS[1] -- hash: the record of the batch
local token = ARGV[1]
local number = ARGV[2] -- of the part, from 0
local part = ARGV[3] -- JSON
local counts = ARGV[4] -- JSON

if redis.call('HGET', batchKey, 'part:' .. number) == part then return 'added' end
if not isDriver(batchKey, token) or redis.call('HGET', batchKey, 'parts') ~= number then return 'lost' end
redis.call('HSET', batchKey, 'part:' .. number, part, 'parts', number + 1, 'counts', counts, 'doneCounts', counts)
return 'added'
