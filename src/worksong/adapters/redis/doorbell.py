"""Told by the server when keys change, whoever changed them: what an idle worker waits for instead of asking again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from worksong.adapters.redis.client import Arg, Redis
from worksong.domain.errors import BackendUnavailable, ConfigError, WorksongError

_SETUP: tuple[tuple[Arg, ...], ...] = (("HELLO", 3), ("CLIENT", "TRACKING", "ON"))
"""The server remembers what this connection reads, and tells once when it changes."""


class Doorbell:
    """Rings when something read through it changes. Has a connection of its own, made when it is first used."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis.sibling(heard=self._hear)
        self._on = False
        self._losses = 0
        self.refusal: WorksongError | None = None
        """Why the server tells of no changes, if it refused to."""
        self._watched: set[bytes] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self.rings = 0
        """How often it has rung: what a later number is compared with."""

    def ring(self) -> None:
        """Something changed: whoever waits need not wait on."""
        self.rings += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, since: int, seconds: float) -> bool:
        """Whether it rang after it had rung `since` times, within so many seconds."""
        if self.rings == since:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            try:
                async with asyncio.timeout(seconds):
                    await future
            except TimeoutError:
                return False
            finally:
                if future in self._waiting:
                    self._waiting.remove(future)
        return True

    def watches(self, keys: Iterable[bytes]) -> bool:
        """Whether none of these has changed since it was read."""
        return self._watched.issuperset(keys)

    def ignore(self, keys: Iterable[bytes]) -> None:
        """Do not ring for these, until they are read again."""
        self._watched.difference_update(keys)

    async def read(self, commands: Sequence[tuple[Arg, ...]], keys: Iterable[bytes]) -> list[Any] | None:
        """What the commands answer, a wrong type's refusal in its place; from now on a change of the `keys` rings.

        None: the server is away, or does not tell of changes.
        """
        if self.refusal:
            return None
        setup, losses = () if self._on else _SETUP, self._losses
        self._watched.update(keys)  # before the answer comes: a change right behind it is one already
        try:
            answers = await self._redis.gather([*setup, *commands])
        except (BackendUnavailable, ConfigError):  # a login that is refused now may be right later, as everywhere
            answers = []
        except BaseException:
            self._forget()  # whoever gave up may have done so before anything was read
            raise
        if not answers or any(isinstance(answer, BackendUnavailable) for answer in answers):
            self._forget()
            return None
        for place, answer in enumerate(answers):
            if isinstance(answer, ConfigError) or (place < len(setup) and isinstance(answer, WorksongError)):
                await self._refuse(answer)
                return None
        self._on = losses == self._losses
        return answers[len(setup) :]

    async def close(self) -> None:
        await self._redis.close()

    def _hear(self, keys: list[bytes] | None) -> None:
        if keys is None:  # the connection is gone, or the database was emptied
            self._forget()
            self.ring()
            return
        known = len(self._watched)
        self._watched.difference_update(keys)
        if len(self._watched) < known:
            self.ring()

    def _forget(self) -> None:
        self._on = False
        self._losses += 1
        self._watched.clear()

    async def _refuse(self, reason: WorksongError) -> None:
        self.refusal = reason
        self._forget()
        await self._redis.close()
