"""Programs on a connection of SQLite, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from worksong.adapters.sql.steps import PARAMETER, Operation, Statement, Step, statements
from worksong.adapters.sql.store import NoRoom, NotSent, Refused
from worksong.domain.errors import ConfigError, WorksongError

DIALECT = "sqlite"

T = TypeVar("T")


def carry_out(connection: sqlite3.Connection | sqlite3.Cursor, operation: Operation[T]) -> T:
    """Run a program in the transaction that is open."""
    texts = _texts()
    program = operation()
    try:
        step = next(program)
        while True:
            step = program.send(texts[step.name].run(connection, step))
    except StopIteration as end:
        answer: T = end.value
        return answer


def meant(failure: Exception, shown: str, file: Path) -> Exception:
    """What an error of SQLite means."""
    if isinstance(failure, (OverflowError, UnicodeEncodeError)):
        return Refused(f"{shown} cannot hold a value ({failure}); nothing was carried out")
    if not isinstance(failure, sqlite3.Error):
        return failure
    kind, told = _MEANINGS.get(getattr(failure, "sqlite_errorcode", 0) & 0xFF, (Refused, "refused: {failure}"))
    why = _why_not(file) if kind is ConfigError else ""
    return kind(f"{shown} {told.format(failure=failure, user=_user(), why=why)}")


_MEANINGS: dict[int, tuple[type[WorksongError], str]] = {
    sqlite3.SQLITE_BUSY: (NotSent, "is locked by another program, and stayed so; nothing was carried out"),
    sqlite3.SQLITE_LOCKED: (NotSent, "is locked by another program, and stayed so; nothing was carried out"),
    sqlite3.SQLITE_FULL: (NoRoom, "cannot grow: the disk is full; nothing was carried out"),
    sqlite3.SQLITE_READONLY: (Refused, "is read-only: the file and its directory must be writable for {user}"),
    sqlite3.SQLITE_NOTADB: (ConfigError, "is no SQLite database, or an encrypted one"),
    sqlite3.SQLITE_CANTOPEN: (ConfigError, "cannot be opened: {why}"),
    sqlite3.SQLITE_IOERR: (Refused, "cannot be written or read: the disk failed ({failure}); nothing was carried out"),
    sqlite3.SQLITE_CORRUPT: (Refused, "is damaged ({failure}): restore a backup, or try `sqlite3 FILE .recover`"),
}
"""The low byte of an error's code -> which of our errors it is, and what it says."""


class _Text:
    """A statement as SQLite takes it: numbered parameters, those of the row last."""

    def __init__(self, statement: Statement) -> None:
        numbers = {name: str(at) for at, name in enumerate((*statement.params, *statement.columns), 1)}
        self._sql = PARAMETER.sub(lambda hit: f"?{numbers[hit[1]]}", statement.text)
        self._params, self._answers = statement.params, statement.answers

    def run(self, connection: sqlite3.Connection | sqlite3.Cursor, step: Step) -> Any:
        """Rows found, or how many were touched."""
        given = tuple([step.params[name] for name in self._params])
        if step.rows is None:
            cursor = connection.execute(self._sql, given)
            return cursor.fetchall() if self._answers else cursor.rowcount
        if self._answers:
            return [found for row in step.rows for found in connection.execute(self._sql, (*given, *row))]
        return connection.executemany(self._sql, [(*given, *row) for row in step.rows]).rowcount


@cache
def _texts() -> dict[str, _Text]:
    return {name: _Text(statement) for name, statement in statements(DIALECT).items()}


def _why_not(path: Path) -> str:
    folder = path.absolute().parent
    if not folder.is_dir():
        return f"there is no directory {folder}"
    if path.is_dir():
        return "it is a directory"
    return f"{_user()} may not open it, or not write to {folder}"


def _user() -> str:
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
