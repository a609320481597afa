-- Copies requests for predictions to the shadow, and throws its answers away. A caller never waits for it: the copy goes into
-- a short queue, and tasks of their own send it. Where the queue is full, or a body was not buffered whole, there is no copy.
-- `get var proc.mirror_dropped` at the admin socket says how many there were not.
local MOST = 64 -- copies that wait; each holds a body of at most tune.bufsize
local TASKS = 8 -- copies under way at one time
local SECONDS = 5

local queue, first, last = {}, 1, 0
local dropped = 0
local used = 0

core.register_action("mirror", {"http-req"}, function(txn)
    local headers = txn.http:req_get_headers()
    local length = headers["content-length"] and tonumber(headers["content-length"][0])
    local body = txn.sf:req_body()
    if last - first + 1 >= MOST or not length or #body ~= length then
        dropped = dropped + 1
        txn:set_var("proc.mirror_dropped", dropped)
        return
    end
    last = last + 1
    queue[last] = {body, headers["authorization"] and headers["authorization"][0]}
end)

local function send_copy(body, authorization)
    local headers = {["content-type"] = {"application/json"}}
    if authorization then headers["authorization"] = {authorization} end
    -- The proxy's own inner door, which has the shadow's limits and its checks.
    local client = core.httpclient()
    client:post{url = "http://127.0.0.1:8081/predict", headers = headers, body = body, timeout = SECONDS * 1000}
end

for _ = 1, TASKS do
    core.register_task(function()
        while true do
            if first > last then
                -- Nothing waits: look again soon while there is a shadow, and seldom where there is none.
                core.msleep(core.now().sec - used < 10 and 5 or 250)
            else
                local copy = queue[first]
                queue[first] = nil
                first = first + 1
                used = core.now().sec
                pcall(send_copy, copy[1], copy[2])
            end
        end
    end)
end
