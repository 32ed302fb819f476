"""A fresh namespace in each of the three databases."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import servers
from sql.shop import Shop, lending, open_shop
from sql.stage import opened
from worksong.adapters.sql.backend import SqlBackend


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def backend(url: str) -> AsyncIterator[SqlBackend]:
    backend = opened(url)
    yield backend
    await backend.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def pgbouncer_url(postgres_server: servers.Database, postgres_url: str) -> Iterator[str]:
    """PgBouncer in transaction mode before the PostgreSQL of the run, whose tables are there."""
    with ExitStack() as running:
        try:
            bouncer = running.enter_context(servers.pgbouncer(postgres_server))
        except servers.Missing as missing:
            pytest.skip(f"no server: {missing}")
        yield f"{bouncer.url}?statement_cache=off"


@pytest.fixture(scope="session")
def sqlite_shop_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with tables."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shop')}/app.db"
    asyncio.run(opened(url).migrate())
    return url


@pytest.fixture
def place(request: pytest.FixtureRequest) -> tuple[str, Any, str]:
    """A database, an application, and where the database is; the parameters are `shop.places`."""
    database, make = request.param
    url: str = request.getfixturevalue("sqlite_shop_url" if database == "sqlite" else f"{database}_url")
    open_shop(database, url)
    return database, make(), url


@pytest.fixture
async def shop(place: tuple[str, Any, str]) -> AsyncIterator[Shop]:
    """An application with a table of its own, that lends its connection."""
    database, app, url = place
    async with lending(app, url) as lent:
        yield Shop(database, url, lent)
