"""Backends over databases, for the tests of this directory."""

from __future__ import annotations

from worksong.adapters import connect
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain.job import new_id


def opened(url: str, namespace: str = "") -> SqlBackend:
    """A backend for the URL, in a namespace of its own unless one is given."""
    backend = connect(url, namespace=namespace or new_id())
    assert isinstance(backend, SqlBackend)
    return backend
