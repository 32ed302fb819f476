"""Statements as MySQL and MariaDB take them, and what their errors mean, whichever driver tells of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from worksong.adapters.sql.servers import Verdict
from worksong.adapters.sql.steps import PARAMETER, Row, Statement, Step, statements

DIALECT = "mysql"

_AGAIN = {1205, 1213, 3572}
_AWAY = {1040, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1290, 1836, 1927, 2002, 2003, 2006, 2013, 2055}
_CONFIG = {1044, 1045, 1049, 1054, 1142, 1146, 1698, 4151}


def meaning(failure: BaseException) -> Verdict:
    """By the number that the server sent, or by what the driver calls it."""
    if isinstance(failure, (OSError, EOFError)) or type(failure).__name__ == "InterfaceError":
        return Verdict.AWAY
    code = failure.args[0] if failure.args else 0
    if code in _AGAIN:
        return Verdict.AGAIN
    if code in _CONFIG:
        return Verdict.CONFIG
    return Verdict.AWAY if code in _AWAY or "Lost connection" in str(failure) else Verdict.REFUSED


class Text:
    """A statement whose parameters are filled in here, by the driver: the text depends on the number of rows."""

    def __init__(self, statement: Statement) -> None:
        self.answers = statement.answers
        self._columns = statement.columns
        self._whole = "{given}" in statement.text or "{values}" in statement.text
        self._parts = _PARTS.split(statement.text)
        row = ", ".join(f"%s AS {name}" for name in statement.columns)
        self._first, self._more = f"SELECT {row}", f" UNION ALL SELECT {', '.join(['%s'] * len(statement.columns))}"

    def given(self, step: Step) -> tuple[str, list[Any]]:
        """The text with a mark for each parameter, and these in order."""
        if step.rows is None or self._whole:
            return self._filled(step, step.rows or ())
        every = [self._filled(step, (row,)) for row in step.rows]
        return " UNION ALL ".join(f"({sql})" for sql, _ in every), [value for _, values in every for value in values]

    def _filled(self, step: Step, rows: Sequence[Row]) -> tuple[str, list[Any]]:
        pieces: list[str] = []
        values: list[Any] = []
        for part in self._parts:
            if part == "{given}":
                pieces.append(f"({self._first}{self._more * (len(rows) - 1)}) AS given")
                values += [value for row in rows for value in row]
            elif part == "{values}":
                mark = f"({', '.join(['%s'] * (1 + len(self._columns)))})"
                pieces.append(", ".join([mark] * len(rows)))
                values += [value for row in rows for value in (step.params["space"], *row)]
            elif name := PARAMETER.fullmatch(part):
                pieces.append("%s")
                in_row = name[1] in self._columns
                values.append(rows[0][self._columns.index(name[1])] if in_row else step.params[name[1]])
            else:
                pieces.append(part)
        return "".join(pieces), values


_PARTS = re.compile(r"(\{given\}|\{values\}|(?<![:\w]):[a-z_]+)")


@cache
def texts() -> dict[str, Text]:
    """All statements."""
    return {name: Text(statement) for name, statement in statements(DIALECT).items()}
