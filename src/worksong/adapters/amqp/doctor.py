"""What is wrong with the server, or with a queue in it."""

from __future__ import annotations

from worksong.adapters.amqp.core import Core
from worksong.domain.finding import Finding


class AmqpDoctor:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def admit(self) -> list[Finding]:
        await self._core.reach()
        return []

    async def examine(self, now: float) -> list[Finding]:
        await self._core.reach()
        return []
