"""Jobs enqueued on the application's own connection to PostgreSQL: its commit is theirs, and tells of them."""

from __future__ import annotations

from typing import Any

from worksong.adapters.sql.joined import JoinedServer
from worksong.adapters.sql.lines import AsyncpgLine, Line
from worksong.adapters.sql.postgres_failures import FAILED_TRANSACTION, NO_TRANSACTION, READ_ONLY, code
from worksong.adapters.sql.postgres_programs import named, numbered
from worksong.adapters.sql.servers import ServerStore
from worksong.adapters.sql.steps import Step


class JoinedPostgres(JoinedServer[Line]):
    """Over any driver."""

    def __init__(self, line: Line, store: ServerStore[Any], news: Step) -> None:
        """`news` tells everybody who listens, once it is committed."""
        super().__init__(line, store)
        self._texts = numbered() if isinstance(line, AsyncpgLine) else named()
        self._news = news

    async def save(self) -> None:
        await self.line.execute("SAVEPOINT worksong")

    async def execute(self, step: Step) -> Any:
        text = self._texts[step.name]
        return await self.line.execute(text.sql, text.given(step), answers=text.answers)

    async def tell(self) -> None:
        await self.execute(self._news)

    def unusable(self, failure: BaseException) -> str:
        return {
            NO_TRANSACTION: "the connection has no transaction open and would commit by itself: "
            "begin one first, or enqueue without a connection",
            READ_ONLY: "the transaction is read-only: enqueue in one that may write, or without a connection",
            FAILED_TRANSACTION: "an earlier statement of the transaction failed, so it can only be rolled back",
        }.get(code(failure), "")
