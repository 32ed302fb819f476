"""The theatre on Redis in Resque's format: the same server, and order in a namespace of Resque's."""

from __future__ import annotations

from pathlib import Path

import redis

from chaos.theatre import NAMESPACE
from chaos.theatre_redis import RedisTheatre
from worksong.wire.resque_keys import Keys


class ResqueTheatre(RedisTheatre):
    """Order is proved on the keys, not by asking the code that wrote them."""

    name = "`resque+redis://`, AOF everysec"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"resque+{self.url}"

    async def disorder(self) -> list[str]:
        with redis.Redis(port=self._port, decode_responses=True) as client:
            return [*_held(client), *_off_the_schedule(client), *_workers_of_nobody(client)]


def _held(client: redis.Redis) -> list[str]:
    """Jobs in the hands of a pool, when nothing is left to do."""
    keys = client.scan_iter(f"{Keys(NAMESPACE).lent('')}*", count=1000)
    return [f"{key} holds {client.hlen(key)} jobs" for key in sorted(keys)]


def _off_the_schedule(client: redis.Redis) -> list[str]:
    """Lists of a second without its place on the schedule, places without a list, marks without a payload."""
    keys = Keys(NAMESPACE)
    lists = {key.removeprefix(keys.delayed_prefix) for key in client.scan_iter(f"{keys.delayed_prefix}*", count=1000)}
    places = set(client.zrange(keys.schedule, 0, -1))
    wrong = [f"second {second} is only in one of list and schedule" for second in sorted(lists ^ places)]
    there = {raw for second in lists for raw in client.lrange(keys.delayed(int(second)), 0, -1)}
    marks = {key.removeprefix(keys.timestamps_prefix) for key in client.scan_iter(f"{keys.timestamps_prefix}*")}
    marks |= set(client.zrange(keys.retries, 0, -1))
    return wrong + [f"marked as delayed, and not there: {raw}" for raw in sorted(marks - there)]


def _workers_of_nobody(client: redis.Redis) -> list[str]:
    """Registered workers whose pool is not."""
    keys = Keys(NAMESPACE)
    pools = client.smembers(keys.pools)
    workers = {*client.smembers(keys.workers), *client.hkeys(keys.heartbeats)}
    return [f"worker of nobody: {name}" for name in sorted(workers) if not any(pool in name for pool in pools)]
