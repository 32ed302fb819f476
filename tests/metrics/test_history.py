"""The course of things in a store: it has a size that it never outgrows, and is there after everybody was restarted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

import servers
from worksong.adapters import connect
from worksong.domain.course import DAY, Grain
from worksong.domain.job import new_id
from worksong.ports.backend import Backend
from worksong.testing.contract.chronicles import AT, a_tally

MONTHS = 70 * DAY
"""More than twice as long as anything is kept."""
MOST = sum(grain.kept // grain.seconds for grain in Grain)
"""How many slots are drawn: all of the guide."""


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that forgets by the time that it is told."""
    places = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    found: str = places.get(request.param) or request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def backend(url: str) -> AsyncIterator[Backend]:
    backend = connect(url, namespace=new_id())
    yield backend
    await backend.close()


def test_the_guide_tells_how_many_slots_there_are() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "monitoring.md").read_text()
    assert f"{MOST:,} slots" in guide


async def test_a_store_keeps_what_is_drawn_and_no_more(backend: Backend) -> None:
    # Given a worker that has told something now and then for months, and every minute of the last three hours
    ends = AT + MONTHS
    for at in (*range(int(AT), int(ends), DAY // 2), *range(int(ends) - 3 * 3600, int(ends), 60)):
        await backend.note({"send": a_tally()}, float(at))
    # When it looks after its store
    await backend.prune(ends)
    # Then the slots of each grain are those that are drawn, and nothing is left of those before
    for grain in Grain:
        found = [slot.at for slot in await backend.course(grain, 0, ends + DAY)]
        assert found[0] >= grain.slot(ends - grain.kept)
        assert len(found) <= grain.kept // grain.seconds + 1
    assert len(await backend.course(Grain.MINUTE, 0, ends)) >= Grain.MINUTE.kept // 60 - 1
    assert len(await backend.course(Grain.HOUR, 0, ends)) >= 2 * Grain.HOUR.kept // DAY - 1


async def test_redis_forgets_each_slot_by_itself(redis_url: str) -> None:
    # Given a slot of each grain
    space, now = f"bounds-{new_id()}", time.time()
    backend = connect(redis_url, namespace=space)
    await backend.note({"send": a_tally()}, now)
    await backend.close()
    # Then each has a time at which the server drops it, when it was kept for long enough
    with redis.Redis.from_url(redis_url) as client:
        for grain in Grain:
            seconds = client.ttl(f"{space}:worksong:course:{grain.seconds}:{grain.slot(now)}")
            assert 0 < seconds <= grain.kept + grain.seconds


async def test_it_is_there_when_the_server_was_restarted(tmp_path: Path) -> None:
    """Redis, with the file that it appends to."""
    now = time.time()
    seen = []
    try:
        for _ in range(2):
            with servers.redis("--appendonly", "yes", "--dir", str(tmp_path)) as server:
                backend = connect(server.url, namespace="shop")
                await backend.note({"send": a_tally()}, now)
                (slot,) = await backend.course(Grain.HOUR, now - 3600, now + 1)
                seen.append(slot.tallies["send"].ended())
                await backend.close()
    except servers.Missing as missing:
        pytest.skip(f"no server: {missing}")
    assert seen == [1, 2]
