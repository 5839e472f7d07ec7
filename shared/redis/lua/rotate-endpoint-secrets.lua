-- Replaces the signing secrets of an endpoint. A call that did so and did not hear of it does not rotate a second time.
--
-- Reply 1, 0 when the secrets are others by now

local endpointKey = KEYS[1] -- hash: the record of the endpoint
local before = ARGV[1] -- the secrets as they were read, JSON
local after = ARGV[2] -- the secrets from now on, JSON

local secrets = redis.call('HGET', endpointKey, 'secrets')
if secrets == after then return 1 end
if secrets ~= before then return 0 end
redis.call('HSET', endpointKey, 'secrets', after)
return 1
