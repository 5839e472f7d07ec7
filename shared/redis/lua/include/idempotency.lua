-- Gives the two steps of a call under an Idempotency-Key. An empty fingerprint stands for a call without a key.
--
-- A client of Redis sends a command again when a broken connection left it unanswered. A call that took its own record for
-- another's would take away what that record names, so an id tells "mine" from "another's".

-- Returns the reply to a call whose key was used before: {mismatch} for another body, {replayed, id} for another call.
-- Returns nil when the call is to be carried out: the key is new, or this very call used it, or what it made is gone, unless
-- the key `holds` all the same.
local function usedBefore(idempotencyKey, noun, fingerprint, recordKey, id, holds)
  if fingerprint == '' then return nil end
  local known = redis.call('HMGET', idempotencyKey, 'fingerprint', noun)
  if not known[1] then return nil end
  -- Record keys end with their id.
  local knownKey = string.sub(recordKey, 1, -#id - 1) .. known[2]
  local isGone = redis.call('EXISTS', knownKey) == 0
  if known[2] == id and not isGone then return nil end
  if known[2] ~= id and isGone and not holds then return nil end
  if known[1] ~= fingerprint then return {'mismatch'} end
  return {'replayed', known[2]}
end

-- Keeps for `seconds` that the key made the record `id`; `noun` is the field that holds the id.
local function useKey(idempotencyKey, noun, fingerprint, id, seconds)
  if fingerprint == '' then return end
  redis.call('HSET', idempotencyKey, 'fingerprint', fingerprint, noun, id)
  redis.call('EXPIRE', idempotencyKey, seconds)
end
