"""The dashboard, the console and the command line show the same figures, whatever keeps the jobs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faces.console import Yard, dashboard
from faces.visitor import visiting
from worksong.adapters import connect
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend
from worksong.ports.clock import SystemClock
from worksong.service.desk import Store

SERVERS = {"redis": "redis_url", "resque+redis": "redis_url", "postgresql": "postgres_url", "mariadb": "mariadb_url"}
COUNTED = (State.QUEUED, State.RUNNING, State.SCHEDULED, State.RETRY, State.DEAD)
"""As the counters of the dashboard stand beside each other."""


@pytest.fixture(params=["memory", "sqlite", *SERVERS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of each kind of backend."""
    here = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    found = here.get(request.param) or request.getfixturevalue(SERVERS[request.param])
    return f"resque+{found}" if request.param == "resque+redis" else found


@pytest.fixture
async def backend(url: str) -> AsyncIterator[Backend]:
    backend = connect(url, namespace=new_id())
    yield backend
    await backend.close()


async def test_it_shows_what_there_is_on_every_backend(backend: Backend) -> None:
    # Given jobs in every state that this backend has
    yard = Yard(backend)
    await yard.bury("LookupError: nobody lives there", Job("deliver"), Job("deliver"))
    await yard.fail("TimeoutError: no answer", Job("mail"))
    await yard.run(Job("export", id="x1"))
    await yard.push(*(Job("resize") for _ in range(3)), Job("remind", run_at=4e9))
    counts = await backend.counts()
    assert {state: counts[state] for state in COUNTED} == dict(zip(COUNTED, (3, 1, 1, 1, 2), strict=True))
    # When somebody looks, then the counters and the panels say so
    async with dashboard(backend) as console:
        assert re.search(r"^ *3 +1 +1 +1 +2 *$", console.screen, re.MULTILINE), console.screen
        assert re.search(r"(resize|default) +3 ", console.screen), console.screen
        await console.press("6")
        assert "nobody lives there" in await console.look()
    # And so does the console
    async with visiting(Store(lambda: backend, SystemClock(), "x://", "shop")) as visitor:
        told = await visitor.json("/counts")
        assert [told[str(state)] for state in COUNTED] == [3, 1, 1, 1, 2]
