-- Another caller for each request.
local caller = 0

function request()
  caller = caller + 1
  return wrk.format("GET", "/", {["x-api-key"] = "stranger-" .. caller})
end
