-- Gives openQueue(): the queue of a version and what is written about many of its jobs together. The script must close it
-- before it replies.
--
-- `keys` is a table {waitingKey, dueIndexKey, queuedKey, outboxKey, subscribedKey, queueKey}. The open queue has `state` (the
-- hash of the version's queue), `queued` and `subscribed` (open hashes), `model`, `now`, `nowDigits` and `outboxKey`.

--- @include "call-many"
--- @include "open-hash"
--- @include "redis-time"
--- @include "whole-number"

local function openQueue(keys, model, ...)
  local now = redisTime()
  local queue = {
    model = model, now = now, nowDigits = wholeNumber(now), outboxKey = keys.outboxKey,
    state = openHash(keys.queueKey, 'uses', ...),
    queued = openHash(keys.queuedKey),
    subscribed = openHash(keys.subscribedKey),
  }
  local due, left, told = {}, {}, {}

  -- Has upkeep look at the record of a job at `time`, best in digits.
  function queue.lookAt(id, time)
    due[#due + 1] = time
    due[#due + 1] = id
  end

  -- Takes a job out of the order of those that wait.
  function queue.leave(id)
    left[#left + 1] = id
  end

  -- Has a channel told a text, together with others.
  function queue.tell(channel, text)
    local texts = told[channel] or {}
    texts[#texts + 1] = text
    told[channel] = texts
  end

  -- Writes who left, so that whoever waits can be read anew.
  function queue.writeLeft()
    callMany('ZREM', keys.waitingKey, left)
    left = {}
  end

  function queue.close()
    queue.writeLeft()
    callMany('ZADD', keys.dueIndexKey, due)
    queue.state.close()
    queue.queued.close()
    for channel, texts in pairs(told) do redis.call('PUBLISH', channel, table.concat(texts)) end
  end

  return queue
end
