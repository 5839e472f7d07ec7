-- Gives subscribeTenant(): keeps the events that a tenant's endpoints want together, where the script that ends a job looks.

local function subscribeTenant(subscribedKey, tenantEndpointsKey, endpointPrefix, tenant)
  local seen, types = {}, {}
  for _, id in ipairs(redis.call('ZRANGE', tenantEndpointsKey, 0, -1)) do
    for type in string.gmatch(redis.call('HGET', endpointPrefix .. id, 'events') or '', '[^,]+') do
      if not seen[type] then table.insert(types, type) end
      seen[type] = true
    end
  end
  table.sort(types)
  if #types == 0 then
    redis.call('HDEL', subscribedKey, tenant)
  else
    redis.call('HSET', subscribedKey, tenant, ',' .. table.concat(types, ',') .. ',')
  end
end
