"""Statements as MySQL takes them: the driver fills in the parameters, so the text depends on the number of rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from worksong.adapters.sql.steps import PARAMETER, Row, Statement, Step

_PARTS = re.compile(
    r"(\{each\}.*?\{/each\}|\{given\}|\{values\}|\{rows\}|\{all_[a-z]+\}|(?<![:\w]):[a-z_]+)", re.DOTALL
)
_BATCH = ("{each}", "{given}", "{values}", "{rows}", "{all_")


class Filled(NamedTuple):
    """A text with a mark for each value, and these in order."""

    sql: str
    values: list[Any]


class MysqlText:
    """A statement, taken apart once."""

    def __init__(self, statement: Statement) -> None:
        self.answers = statement.answers
        self._columns = statement.columns
        self._batch = any(part in statement.text for part in _BATCH)
        self._parts = _PARTS.split(statement.text)
        row = ", ".join(f"%s AS {name}" for name in statement.columns)
        self._first, self._more = f"SELECT {row}", f" UNION ALL SELECT {_marks(len(statement.columns))}"

    def given(self, step: Step) -> Filled:
        """For these rows and parameters."""
        if step.rows is None or self._batch:
            return self._filled(self._parts, step, step.rows or ())
        every = [self._filled(self._parts, step, (row,)) for row in step.rows]
        return Filled(" UNION ALL ".join(f"({sql})" for sql, _ in every), _joined(every))

    def _filled(self, parts: Sequence[str], step: Step, rows: Sequence[Row]) -> Filled:
        pieces: list[str] = []
        values: list[Any] = []
        for part in parts:
            if part.startswith("{"):
                sql, more = self._batch_part(part, step, rows)
                pieces.append(sql)
                values += more
            elif name := PARAMETER.fullmatch(part):
                pieces.append("%s")
                in_row = name[1] in self._columns
                values.append(rows[0][self._columns.index(name[1])] if in_row else step.params[name[1]])
            else:
                pieces.append(part)
        return Filled("".join(pieces), values)

    def _batch_part(self, part: str, step: Step, rows: Sequence[Row]) -> Filled:
        """What stands for all rows at once."""
        width, number = len(self._columns), len(rows)
        match part:
            case "{given}":
                return Filled(f"({self._first}{self._more * (number - 1)}) AS given", _flat(rows))
            case "{values}":
                spaced = [(step.params["space"], *row) for row in rows]
                return Filled(", ".join([f"({_marks(1 + width)})"] * number), _flat(spaced))
            case "{rows}":
                return Filled(", ".join([f"({_marks(width)})"] * number), _flat(rows))
            case _ if part.startswith("{each}"):
                inner = _PARTS.split(part[len("{each}") : -len("{/each}")])
                every = [self._filled(inner, step, (row,)) for row in rows]
                return Filled(" UNION ALL ".join(sql for sql, _ in every), _joined(every))
            case _:
                column = self._columns.index(part[len("{all_") : -1])
                return Filled(_marks(number), [row[column] for row in rows])


def _marks(number: int) -> str:
    return ", ".join(["%s"] * number)


def _flat(rows: Sequence[Row]) -> list[Any]:
    return [value for row in rows for value in row]


def _joined(every: Sequence[Filled]) -> list[Any]:
    return [value for filled in every for value in filled.values]
