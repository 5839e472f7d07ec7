-- Stores how far an execution is. Nobody need take that away again: it belongs to one token, and shows only under the newest.
--
-- Reply 1, 0 when the job is no longer run under this token

--- @include "read-terms"
--- @include "redis-time"
--- @include "tell-job-event"

local jobKey = KEYS[1] -- hash: the record of the job
local outboxKey = KEYS[2] -- stream: events to deliver
local subscribedKey = KEYS[3] -- hash: events that each tenant's endpoints want
local id = ARGV[1]
local token = ARGV[2]
local done = ARGV[3] -- instances
local total = ARGV[4] -- instances
local changedChannel = ARGV[5]
local eventPeriodMs = ARGV[6] -- a job gives at most one event in this time

local job = redis.call('HMGET', jobKey, 'status', 'starts', 'terms', 'progressToldAt')
local status, starts, terms, toldAt = unpack(job)
if status ~= 'running' or starts ~= token then return 0 end
local now = redisTime()
if now - tonumber(toldAt or '0') >= tonumber(eventPeriodMs) then
  redis.call('HSET', jobKey, 'progressToldAt', now)
  local tenant, _, _, _, _, _, events = readTerms(terms)
  local event = 'evt_' .. string.sub(id, 5) .. '-progress-' .. now
  tellJobEvent(outboxKey, openHash(subscribedKey), tenant, events, 'job.progress', event, id, now)
end
redis.call('HSET', jobKey, 'progress', token .. ' ' .. done .. ' ' .. total)
redis.call('PUBLISH', changedChannel, id)
return 1
