"""Statements as MySQL takes them: the driver fills in the parameters, so the text depends on the number of rows.

Numbers, bytes and plain words stand in the text: a driver takes longer to find out that there is nothing to escape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from worksong.adapters.sql.steps import PARAMETER, Row, Statement, Step

_PARTS = re.compile(r"(\{given\}|\{values\}|\{all_[a-z]+\}|\{first_[a-z]+\}|(?<![:\w]):[a-z_]+)")
UNCUT = 65_535
"""Bytes."""
_WIDEST = f"CAST(NULL AS BINARY({(1 << 24) - 1}))"
"""As long as a column of ours can be: nothing is cut off beside it."""
_BATCH = ("{given}", "{values}", "{all_")


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

    def given(self, step: Step) -> Filled:
        """For these rows and parameters."""
        filled = Filled("", [])
        if step.rows is None or self._batch:
            return filled._replace(sql=self._text(self._parts, step, step.rows or (), filled.values))
        every = [f"({self._text(self._parts, step, (row,), filled.values)})" for row in step.rows]
        return filled._replace(sql=" UNION ALL ".join(every))

    def _text(self, parts: Sequence[str], step: Step, rows: Sequence[Row], values: list[Any]) -> str:
        """With a mark for each that is added to the values."""
        pieces: list[str] = []
        for part in parts:
            if part.startswith("{"):
                pieces.append(self._batch_text(part, step, rows, values))
            elif name := PARAMETER.fullmatch(part):
                in_row = name[1] in self._columns
                value = rows[0][self._columns.index(name[1])] if in_row else step.params[name[1]]
                pieces.append(_said(value, values))
            else:
                pieces.append(part)
        return "".join(pieces)

    def _batch_text(self, part: str, step: Step, rows: Sequence[Row], values: list[Any]) -> str:
        """What stands for all rows at once."""
        match part:
            case "{given}":
                return f"({self._table(rows, values)}) AS given"
            case "{values}":
                space = (step.params["space"],)
                return ", ".join([f"({_list(space + row, values)})" for row in rows])
            case _ if part.startswith("{first_"):
                return _said(rows[0][self._columns.index(part[len("{first_") : -1])], values)
            case _:
                column = self._columns.index(part[len("{all_") : -1])
                return _list(tuple(dict.fromkeys([row[column] for row in rows])), values)

    def _table(self, rows: Sequence[Row], values: list[Any]) -> str:
        """The first row names the columns."""
        first, *more = rows
        cells = [_said(value, values) for value in first]
        for at in _wide(first, more):
            cells[at] = f"COALESCE({_WIDEST}, {cells[at]})"
        named = ", ".join([f"{cell} AS {column}" for cell, column in zip(cells, self._columns, strict=True)])
        return " UNION ALL ".join([f"SELECT {named}", *(f"SELECT {_list(row, values)}" for row in more)])


def _wide(first: Row, more: Sequence[Row]) -> list[int]:
    """The columns with bytes so long that MariaDB cuts them off where rows are united, and says nothing of it."""
    perhaps = [at for at, value in enumerate(first) if value is None or type(value) is bytes] if more else []
    rows = (first, *more)
    return [at for at in perhaps if any(type(row[at]) is bytes and len(row[at]) > UNCUT for row in rows)]


def _list(row: Sequence[Any], values: list[Any]) -> str:
    return ", ".join([_said(value, values) for value in row])


def _said(value: object, values: list[Any]) -> str:
    if type(value) is str and value.isalnum() and value.isascii():
        return f"'{value}'"
    if type(value) is int:
        return str(value)
    if type(value) is float and isfinite(value):
        return f"{value:.16e}"
    if type(value) is bytes:
        return f"x'{value.hex()}'"
    if value is None:
        return "NULL"
    values.append(value)
    return "%s"
