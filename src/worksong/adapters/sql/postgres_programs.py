"""Statements as PostgreSQL takes them, and what its errors mean, whichever driver tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from worksong.adapters.sql.servers import Verdict
from worksong.adapters.sql.steps import PARAMETER, Statement, Step, statements

DIALECT = "postgres"
NO_TRANSACTION, FAILED_TRANSACTION, READ_ONLY = "25P01", "25P02", "25006"

_MEANINGS = {
    **dict.fromkeys(("40001", "40P01", "55P03"), Verdict.AGAIN),
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "53300", READ_ONLY, "25P03"), Verdict.AWAY),
    **dict.fromkeys(("28", "3D000", "3F000", "42P01", "42703", "42501"), Verdict.CONFIG),
}
"""SQLSTATE, or the class that it begins with -> what to make of it."""
_BROKEN = {"InterfaceError", "InternalClientError", "OperationalError", "OSError"}
"""What drivers call an error that the server did not send."""


def code(failure: BaseException) -> str:
    """Its SQLSTATE; empty for an error that is the driver's own."""
    return getattr(failure, "sqlstate", None) or getattr(failure, "pgcode", None) or ""


def meaning(failure: BaseException) -> Verdict:
    """By the code that the server sent, or by what the driver calls it."""
    if state := code(failure):
        return _MEANINGS.get(state) or _MEANINGS.get(state[:2], Verdict.REFUSED)
    named = {kind.__name__ for kind in type(failure).__mro__}
    return Verdict.REFUSED if named.isdisjoint(_BROKEN) else Verdict.AWAY


class Numbered:
    """For asyncpg: numbered parameters, each column of the rows one array."""

    def __init__(self, statement: Statement) -> None:
        numbers = {name: str(at) for at, name in enumerate((*statement.params, *statement.columns), 1)}
        self.sql = PARAMETER.sub(lambda hit: f"${numbers[hit[1]]}", statement.text)
        self.answers = statement.answers
        self._params = statement.params

    def given(self, step: Step) -> Sequence[Any]:
        """The parameters in order."""
        single = [step.params[name] for name in self._params]
        return (*single, *(list(column) for column in zip(*step.rows, strict=True))) if step.rows else tuple(single)


class Named:
    """For psycopg: parameters by name, each column of the rows one list."""

    def __init__(self, statement: Statement) -> None:
        self.sql = PARAMETER.sub(lambda hit: f"%({hit[1]})s", statement.text.replace("%", "%%"))
        self.answers = statement.answers
        self._columns = statement.columns

    def given(self, step: Step) -> dict[str, Any]:
        """The parameters by name."""
        columns = map(_alike, zip(*(step.rows or ()), strict=True))
        return {**step.params, **dict(zip(self._columns, columns, strict=bool(step.rows)))}


def _alike(column: Sequence[Any]) -> list[Any]:
    """Of one type, as psycopg wants the members of a list."""
    if any(type(value) is float for value in column):
        return [float(value) if type(value) is int else value for value in column]
    return list(column)


@cache
def numbered() -> dict[str, Numbered]:
    """All statements, for asyncpg."""
    return {name: Numbered(statement) for name, statement in statements(DIALECT).items()}


@cache
def named() -> dict[str, Named]:
    """All statements, for psycopg."""
    return {name: Named(statement) for name, statement in statements(DIALECT).items()}
