-- Gives the bound of a call of a worker.

-- A call that nobody answered for so long counts as lost.
local CALL_LOST_MS = 2000
