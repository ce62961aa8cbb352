-- wrk's side of the benchmark: walks the prepared requests once, and prints one line of JSON for Python to read.

local requests, at = {}, 0

function init(_)
  local file = assert(io.open(os.getenv("TURNLOCK_BENCH_REQUESTS"), "rb"))
  local data = file:read("*a")
  file:close()
  local position = 1
  while position < #data do
    local length = tonumber(data:sub(position, position + 7))
    requests[#requests + 1] = data:sub(position + 8, position + 7 + length)
    position = position + 8 + length
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failures": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
