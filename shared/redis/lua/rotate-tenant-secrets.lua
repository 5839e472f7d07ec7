-- Replaces the signing secrets of a tenant. A call that did so and did not hear of it does not rotate a second time.
--
-- Reply 1, 0 when the secrets are others by now

local secretsKey = KEYS[1] -- string: signing secrets of the tenant, JSON
local before = ARGV[1] -- the secrets as they were read, JSON
local after = ARGV[2] -- the secrets from now on, JSON

local secrets = redis.call('GET', secretsKey)
if secrets == after then return 1 end
if secrets ~= before then return 0 end
redis.call('SET', secretsKey, after)
return 1
