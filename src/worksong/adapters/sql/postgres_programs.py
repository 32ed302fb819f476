"""Statements as PostgreSQL takes them, by whichever driver."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from worksong.adapters.sql.steps import PARAMETER, Statement, Step, statements

DIALECT = "postgres"


class Numbered:
    """For asyncpg: numbered parameters, each column of the rows one array."""

    def __init__(self, statement: Statement) -> None:
        numbers = {name: str(at) for at, name in enumerate((*statement.params, *statement.columns), 1)}
        self.sql = PARAMETER.sub(lambda hit: f"${numbers[hit[1]]}", statement.text)
        self.answers = statement.answers
        self.columns, self.params = statement.columns, statement.params
        self.copied = statement.text.removeprefix("COPY ") if statement.text.startswith("COPY ") else ""
        """The table that the rows are copied into."""

    def given(self, step: Step) -> Sequence[Any]:
        """The parameters in order."""
        single = [step.params[name] for name in self.params]
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
