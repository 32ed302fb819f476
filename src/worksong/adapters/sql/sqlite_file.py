"""A connection to the file of SQLite, as ours are: its settings, and its turn to write."""

from __future__ import annotations

import sqlite3
import time

from worksong.adapters.sql.address import Address
from worksong.ports import chance

SYNCHRONOUS = ("FULL", "NORMAL", "EXTRA")
"""What the URL may say of commits; the first one is the default."""
PATIENCE = 10.0
"""Seconds that another program may hold the file, unless the URL says otherwise."""
WAL_KEPT = 64 << 20
"""Bytes to which the log is cut back once it was longer."""
CHECKPOINT = 8000
"""Pages of the log after which it is copied into the file, which takes longer than many commits."""
NAP = 0.003
"""Seconds at most between two tries to begin: whoever pauses longer lets everybody else have a turn."""


def patience(address: Address) -> float:
    """Seconds that another program may hold the file."""
    return address.seconds("timeout", PATIENCE)


def tune(connection: sqlite3.Connection | sqlite3.Cursor, address: Address) -> None:
    """What a connection forgets when it is closed."""
    connection.execute(f"PRAGMA synchronous={address.choice('synchronous', SYNCHRONOUS)}")
    connection.execute(f"PRAGMA journal_size_limit={WAL_KEPT}")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")


def begin(cursor: sqlite3.Connection | sqlite3.Cursor, seconds: float) -> None:
    """Begin to write, as soon as nobody else does.

    SQLite's own wait looks every 100 ms after a while, and can starve beside writers that follow close upon each other.
    """
    until = time.monotonic() + seconds
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as failure:
                if failure.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
            time.sleep(chance.uniform(NAP / 10, NAP))
    finally:
        cursor.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")
