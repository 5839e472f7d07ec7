-- Gives redisTime(): the time by Redis' own clock, in milliseconds since the Unix epoch. No clock of a worker decides.

local function redisTime()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
