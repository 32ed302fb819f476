"""Indexes that PostgreSQL builds beside the work, however long it takes."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Generator
from contextlib import contextmanager

HOWEVER_LONG = 1e8
"""Seconds for a statement that no limit may cut short: what it has built would be lost."""
QUIET = 10.0
"""Seconds after which an operator is told what it waits for."""
_NAMED = re.compile(r"INDEX CONCURRENTLY (?:IF EXISTS )?(\w+)")
log = logging.getLogger("worksong")


def built(sql: str) -> str:
    """The name of the index that a statement builds, or drops since it was left unfinished."""
    named = _NAMED.search(sql)
    assert named, sql
    return named[1]


def whole(index: str) -> str:
    """The question whether it is there and finished; no answer: it is not there."""
    return f"SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{index}')"


@contextmanager
def telling(shown: str, index: str) -> Generator[None]:
    """Within, it is built; what takes longer is told of."""
    timer = asyncio.get_running_loop().call_later(QUIET, log.warning, _TOLD, shown, index)
    try:
        yield
    finally:
        timer.cancel()


_TOLD = (
    "%s: the index %s is being built while workers go on; it waits for the transactions that are open in the database: "
    "pg_stat_activity names them, pg_stat_progress_create_index tells how far it is"
)
