"""Backends over databases, for the tests of this directory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worksong.adapters import connect
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.job import new_id


def opened(url: str, namespace: str = "") -> SqlBackend:
    """A backend for the URL, in a namespace of its own unless one is given."""
    backend = connect(url, namespace=namespace or new_id())
    assert isinstance(backend, SqlBackend)
    return backend


async def told(backend: SqlBackend, *sql: str) -> list[Any]:
    """What the server answers to statements on a connection of their own."""
    store: Any = backend._store
    connection = await store.dial()
    try:
        return [await store.plain(connection, one) for one in sql][-1]
    finally:
        store.hang_up(connection)


@contextmanager
def fresh(url: str) -> Iterator[str]:
    """An empty database on the same server."""
    name = f"fresh_{new_id()}"
    asyncio.run(_admin(url, f"CREATE DATABASE {name}"))
    yield f"{url.rpartition('/')[0]}/{name}"
    asyncio.run(_admin(url, f"DROP DATABASE {name}" + (" WITH (FORCE)" if url.startswith("postgres") else "")))


async def _admin(url: str, sql: str) -> None:
    backend = opened(url)
    await told(backend, sql)
