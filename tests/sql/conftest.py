"""A fresh namespace in each of the three databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

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
