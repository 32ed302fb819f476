-- The same, asked once for each key, however many of the arguments name it.
--: misfit
local checked = {}
local function misfit_once(key, kind)
  if checked[key] then return nil end
  checked[key] = true
  return misfit(key, kind)
end
