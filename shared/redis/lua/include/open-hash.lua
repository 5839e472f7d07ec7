-- Gives openHash(): a hash whose fields are read once and whose changes are written together, so that a script pays for them
-- once a call and not once a job. The script must close it before it replies, and use no other way to the hash until then.

--- @include "call-many"

-- The fields named here are read at once.
local function openHash(key, ...)
  local hash, known, changed, removed = {}, {}, {}, {}

  -- Reads those fields that were not read yet, in one command; others are read when they are first asked for.
  function hash.read(...)
    local missing = {}
    for _, field in ipairs({...}) do
      if known[field] == nil then missing[#missing + 1] = field end
    end
    if #missing == 0 then return end
    for i, value in ipairs(redis.call('HMGET', key, unpack(missing))) do known[missing[i]] = value end
  end

  -- Returns the value of a field; "" when there is none.
  function hash.get(field)
    hash.read(field)
    return known[field] or ''
  end

  -- Returns the number in a field; 0 when there is none.
  function hash.number(field)
    return tonumber(hash.get(field)) or 0
  end

  function hash.set(field, value)
    known[field] = value
    changed[field] = true
  end

  function hash.remove(field)
    known[field] = ''
    changed[field] = nil
    removed[#removed + 1] = field
  end

  function hash.add(field, change)
    hash.set(field, hash.number(field) + change)
  end

  function hash.close()
    local written = {}
    for field in pairs(changed) do
      written[#written + 1] = field
      written[#written + 1] = known[field]
    end
    callMany('HSET', key, written)
    callMany('HDEL', key, removed)
    changed, removed = {}, {}
  end

  hash.read(...)
  return hash
end
