"""A file of SQLite as the doctor sees it: from outside, and by a connection that makes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worksong.adapters.sql.filesystem import network_filesystem, shared_filesystem
from worksong.adapters.sql.sqlite_programs import meant
from worksong.adapters.sql.steps import Row
from worksong.adapters.sql.store import Refused, Say
from worksong.domain.errors import ConfigError


def seen(file: Path) -> dict[str, Sequence[Row]] | None:
    """What its file system tells; None: there is no such file."""
    if file.parent.is_dir() and not os.access(file.parent, os.X_OK):
        raise ConfigError(f"user {os.geteuid()} may not look into {file.parent}, where {file.name} should be")
    if not file.is_file():
        return None
    log, usage = file.with_name(f"{file.name}-wal"), shutil.disk_usage(file.parent)
    beside = [file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm")]
    used = [file.parent, file, *(path for path in beside if path.exists())]
    return {
        "place": [(network_filesystem(file), shared_filesystem(file))],
        "closed": [(str(path),) for path in used if not os.access(path, os.W_OK)],
        "size": [(file.stat().st_size,)],
        "wal": [(log.stat().st_size if log.exists() else 0,)],
        "disk": [(usage.free, usage.total)],
        "library": [(sqlite3.sqlite_version,)],
    }


@contextlib.asynccontextmanager
async def bedside(file: Path, shown: str, patience: float) -> AsyncGenerator[Say]:
    """On a thread of its own, which opens the file with the first question: reading all of it takes its time."""
    thread = ThreadPoolExecutor(1, "worksong-sqlite-doctor")
    loop = asyncio.get_running_loop()
    opened: list[sqlite3.Connection] = []

    def carry_out(sql: str) -> list[Row]:
        if not opened:
            uri = f"{file.absolute().as_uri()}?mode=rw"
            opened.append(sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None))
        return opened[0].execute(sql).fetchall()

    async def say(sql: str) -> list[Row]:
        try:
            return await loop.run_in_executor(thread, carry_out, sql)
        except sqlite3.Error as failure:
            told = meant(failure, shown, file)
            raise (Refused(str(told)) if isinstance(told, ConfigError) else told) from failure

    def close() -> None:
        for connection in opened:
            connection.close()

    try:
        yield say
    finally:
        await loop.run_in_executor(thread, close)
        thread.shutdown(wait=False)
