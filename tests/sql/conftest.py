"""A fresh namespace in each of the three databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
