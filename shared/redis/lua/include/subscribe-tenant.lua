-- Gives subscribeTenant(): keeps the events that a tenant's endpoints want together, where the script that ends a job looks.

local function subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
  local seen, all = {}, ','
  for _, id in ipairs(redis.call('ZRANGE', tenantEndpointsKey, 0, -1)) do
    for type in string.gmatch(redis.call('HGET', endpointPrefix .. id, 'events') or '', '[^,]+') do
      if not seen[type] then all = all .. type .. ',' end
      seen[type] = true
    end
  end
  if all == ',' then
    redis.call('HDEL', subscribedKey, tenant)
  else
    redis.call('HSET', subscribedKey, tenant, all)
  end
end
