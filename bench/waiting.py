"""A Redis whose waiting jobs can be doubled within it, for those that are measured beside a million of them."""

from __future__ import annotations

from bench.backlog import WAITING
from bench.server import RedisServer
from worksong.wire.gocraft_keys import Keys

DOUBLE = """
local function marked(raw) return (string.gsub(raw, '"id":"([^"]*)"', '"id":"%1.' .. ARGV[1] .. '"', 1)) end
for _, raw in ipairs(redis.call('lrange', KEYS[1], 0, -1)) do redis.call('lpush', KEYS[1], marked(raw)) end
local members = redis.call('zrange', KEYS[2], 0, -1, 'withscores')
for place = 1, #members, 2 do redis.call('zadd', KEYS[2], members[place + 1], marked(members[place])) end
"""


class WaitingRedis(RedisServer):
    """What waits there lies in the namespace of the bench."""

    def double(self, columns: str, mark: int) -> None:
        """Every job once more, under its id with this mark; there are no columns."""
        keys = Keys("bench")
        self._client.config_set("lua-time-limit", 0)  # half a million at once take longer than a script usually may
        self._client.eval(DOUBLE, 2, keys.jobs(WAITING), keys.scheduled, mark)

    def tidy(self) -> None:
        """It is at rest already."""
