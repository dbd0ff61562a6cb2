-- Takes every charge, or none. Time is the server's own, so pods' clocks do not matter.
-- KEYS: one for each charge. ARGV: lease in ms, lease id, then kind, limit and cost of each charge.
-- Answers {0, left…} or {index of the charge that was denied, ms to wait or -1}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, id = tonumber(ARGV[1]), ARGV[2]
local level, answer = {}, {0}
for i, key in ipairs(KEYS) do
  local kind, limit, cost = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if kind == 'concurrent' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    local under_way = redis.call('ZCARD', key)
    if under_way >= limit then return {i, -1} end
    answer[i + 1] = limit - under_way - 1
  else
    local held = redis.call('HMGET', key, 'level', 'at')
    local there = limit
    if held[1] then
      there = math.min(limit, tonumber(held[1]) + math.max(0, now - tonumber(held[2])) * limit / 60000)
    end
    if cost > limit then cost = limit end
    if there < cost then return {i, math.ceil((cost - there) * 60000 / limit)} end
    level[i] = there - cost
    answer[i + 1] = math.max(0, math.floor(level[i]))
  end
end
for i, key in ipairs(KEYS) do
  if level[i] then
    redis.call('HSET', key, 'level', tostring(level[i]), 'at', tostring(now))
    redis.call('PEXPIRE', key, 61000)
  else
    redis.call('ZADD', key, now + lease, id)
    redis.call('PEXPIRE', key, lease)
  end
end
return answer
