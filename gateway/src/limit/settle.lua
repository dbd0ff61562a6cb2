-- The request is over: its places are given back, and tokens are taken besides those reserved, or given back.
-- KEYS: one for each charge. ARGV: tokens owed, lease id, then kind and limit of each charge.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local owed, id = tonumber(ARGV[1]), ARGV[2]
for i, key in ipairs(KEYS) do
  local kind, limit = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  if kind == 'concurrent' then
    redis.call('ZREM', key, id)
  elseif kind == 'tokens' then
    local held = redis.call('HMGET', key, 'level', 'at')
    local there = limit
    if held[1] then
      there = math.min(limit, tonumber(held[1]) + math.max(0, now - tonumber(held[2])) * limit / 60000)
    end
    there = math.min(limit, there - owed)
    redis.call('HSET', key, 'level', tostring(there), 'at', tostring(now))
    redis.call('PEXPIRE', key, math.ceil((limit - there) * 60000 / limit) + 1000)
  end
end
return 0
