"""Jobs enqueued on the application's own connection to MySQL or MariaDB: its commit is theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worksong.adapters.sql.joined import JoinedServer
from worksong.adapters.sql.lines import Line
from worksong.adapters.sql.mysql_programs import texts
from worksong.adapters.sql.steps import Step

NO_SAVEPOINT, READ_ONLY = 1305, 1792


class JoinedMysql(JoinedServer[Line]):
    """Over any driver, whatever the connection's character set, SQL mode and isolation level are."""

    async def save(self) -> None:
        """Without a transaction there is a savepoint for the length of its own statement: one cannot go back to it."""
        await self.line.execute("SAVEPOINT worksong")
        await self.line.execute("ROLLBACK TO SAVEPOINT worksong")

    async def execute(self, step: Step) -> Any:
        """How many rows a statement touched is not told: with CLIENT_FOUND_ROWS, those left alone would count."""
        text = texts()[step.name]
        sql, values = text.given(step)
        found = await self.line.execute(*_in_hex(sql, values), answers=text.answers)
        return found if text.answers else 0

    def unusable(self, failure: BaseException) -> str:
        return {
            NO_SAVEPOINT: "the connection has no transaction open and would commit by itself: "
            "begin one first, or enqueue without a connection",
            READ_ONLY: "the transaction is read-only: enqueue in one that may write, or without a connection",
        }.get(failure.args[0] if failure.args else 0, "")


def _in_hex(sql: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Bytes as digits: how a driver would escape them depends on the character set and the SQL mode."""
    pieces = sql.split("%s")
    marks = ["UNHEX(%s)" if isinstance(value, bytes) else "%s" for value in values]
    marked = "".join(piece + mark for piece, mark in zip(pieces, [*marks, ""], strict=True))
    return marked, [value.hex() if isinstance(value, bytes) else value for value in values]
