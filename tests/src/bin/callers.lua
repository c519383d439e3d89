-- One of a thousand callers for each request, the same ones for every listener.
local requests = {}

function init()
  for caller = 1, 1000 do
    requests[caller] = wrk.format("GET", "/", {["x-api-key"] = "caller-" .. caller})
  end
end

local caller = 0

function request()
  caller = caller % 1000 + 1
  return requests[caller]
end
