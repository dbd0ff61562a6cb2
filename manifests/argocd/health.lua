-- Health of a ModelBackend or ModelGateway for Argo CD, from the conditions that every tool reads. Lua 5.1, no library.
-- An object that nobody has looked at since its last change is Progressing, never Healthy.
local health = { status = "Progressing", message = "waiting for the operator" }
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
local function is(kind, value)
  return found[kind] ~= nil and found[kind].status == value
end
if status.summary ~= nil then
  health.message = status.summary
elseif found["Ready"] ~= nil then
  health.message = found["Ready"].message
end
local observed = status.observedGeneration
if obj.metadata.generation ~= nil and (observed == nil or observed < obj.metadata.generation) then
  return health
end
if obj.spec ~= nil and obj.spec.paused == true then
  health.status = "Suspended"
elseif is("Stalled", "True") or is("Degraded", "True") then
  health.status = "Degraded"
elseif is("Ready", "True") and not is("Reconciling", "True") then
  health.status = "Healthy"
end
return health
