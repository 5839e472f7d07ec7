-- Gives isCallOut(): whether a call of a worker, that began at `since`, may still be answered.

-- A call that nobody answered for so long counts as lost.
local CALL_LOST_MS = 2000

-- After a failover the clock of Redis may stand before `since`: then nothing is known of the call.
local function isCallOut(since, now)
  return now >= since and now - since < CALL_LOST_MS
end
