-- Writes the record of a file, whose blob is stored already.
--
-- Reply {created} | {replayed, id} | {mismatch}

--- @include "idempotency"

local fileKey = KEYS[1] -- string: the record of the file, JSON
local tenantFilesKey = KEYS[2] -- sorted set: the tenant's files
local filesKey = KEYS[3] -- sorted set: files by the time at which they expire
local idempotencyKey = KEYS[4] -- hash: the Idempotency-Key; the record without one
local id = ARGV[1]
local record = ARGV[2] -- JSON
local expiresAt = ARGV[3] -- milliseconds since the Unix epoch
local fingerprint = ARGV[4] -- of the upload, "" without an Idempotency-Key
local idempotencySeconds = ARGV[5]

local used = usedBefore(idempotencyKey, 'file', fingerprint, fileKey, id)
if used then return used end
useKey(idempotencyKey, 'file', fingerprint, id, idempotencySeconds)
redis.call('SET', fileKey, record)
redis.call('ZADD', tenantFilesKey, 0, id)
redis.call('ZADD', filesKey, expiresAt, id)
return {'created'}
