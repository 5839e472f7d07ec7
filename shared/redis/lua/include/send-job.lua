-- Gives findReceiver() and sendJob(): a job is started in the very script that submits it, and sent to a worker that stands by with room.
-- So it needs no turn of its own to start. `queue` is the open hash of the queue.

--- @include "held-ticket"
--- @include "standing"

-- A larger job is fetched by a turn.
local MOST_SENT_BYTES = 16384
-- A worker without a job takes a turn every second. One that took none for longer may be frozen, and is rung instead.
local FRESH_MS = 1500

-- Returns who stands by first, as standing() does; nil when it has not come lately, or does not listen. While a worker is rung, jobs
-- wait that came before.
local function findReceiver(queue, now)
  if queue.get('rung') ~= '' then return nil end
  local receiver = standing(queue)
  if not receiver or now < receiver.since or now - receiver.since > FRESH_MS then return nil end
  if heldTicket(queue, receiver.ticket) ~= receiver.tenure then return nil end
  return redis.call('PUBSUB', 'NUMSUB', receiver.bell)[2] > 0 and receiver or nil
end

-- The receiver is given a share, and stands behind the others while it has room for more.
local function standLast(queue, receiver)
  local line = table.concat({receiver.bell, receiver.tenure, receiver.ticket, receiver.room - 1, receiver.since}, ' ') .. '\n'
  queue.set('standby', receiver.room > 1 and receiver.others .. line or receiver.others)
end

-- Sends a job that is running under the ticket of the receiver now, and notes that it was sent.
local function sendJob(queue, receiver, id, spec, input)
  standLast(queue, receiver)
  local tenure, turn, before = heldTicket(queue, receiver.ticket)
  queue.set('held:' .. receiver.ticket, tenure .. ' ' .. turn .. ' ' .. id)
  local line = tenure .. ' ' .. id .. ' ' .. before .. ' ' .. #spec .. '\n'
  redis.call('PUBLISH', receiver.bell, line .. spec .. input)
end
