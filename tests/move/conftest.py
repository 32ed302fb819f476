"""The two sides of a move: tests say `here` and `there`, each redis, sqlite, postgres or mariadb."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from move.stage import side
from worksong.move import Side


@pytest.fixture
def here_url(request: pytest.FixtureRequest, here: str, tmp_path: Path) -> str:
    return _url(request, here, tmp_path / "here.db")


@pytest.fixture
def there_url(request: pytest.FixtureRequest, there: str, tmp_path: Path) -> str:
    return _url(request, there, tmp_path / "there.db")


def _url(request: pytest.FixtureRequest, kind: str, file: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{file}?synchronous=NORMAL"
    found: str = request.getfixturevalue(f"{kind}_url")
    return found


@pytest.fixture
async def source(here_url: str) -> AsyncIterator[Side]:
    """Where jobs are, in a namespace of its own."""
    opened = side(here_url)
    yield opened
    await opened.backend.close()


@pytest.fixture
async def target(there_url: str) -> AsyncIterator[Side]:
    """Where they shall be, in a namespace of its own."""
    opened = side(there_url)
    yield opened
    await opened.backend.close()
