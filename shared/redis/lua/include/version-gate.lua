-- Gives the gate of a version, through which everything passes that begins to use it or writes about it.

-- Returns why a version is closed: 'purged' for ever, 'deleted' with its model, 'retired' for new jobs; nil when it is open.
-- A line of a batch (`isLine`) was accepted with its batch, so it may use what takes no new jobs.
local function closedBy(modelKey, numbersKey, model, version, isLine)
  local state, deleting = unpack(redis.call('HMGET', modelKey, 'state:' .. version, 'deleting'))
  if state == 'purging' or state == 'purged' then return 'purged' end
  if not isLine and deleting then return 'deleted' end
  if not isLine and state == 'retired' then return 'retired' end
  -- The numbers of a model that was deleted are kept, so a process that slept meanwhile is told of it.
  if state or tonumber(version) > tonumber(redis.call('HGET', numbersKey, model) or '0') then return nil end
  return 'deleted'
end
