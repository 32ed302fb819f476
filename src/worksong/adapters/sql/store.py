"""What a dialect gives to the backend: somewhere to run programs, and a way to hear that something changed."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeVar

from worksong.adapters.bells import Bells
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.doctor.chart import Specialist
from worksong.adapters.sql.places import NEVER_BACK, Numbers
from worksong.adapters.sql.steps import Operation, Row
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable

T = TypeVar("T")

Say: TypeAlias = Callable[[str], Awaitable[list[Row]]]
"""Carries out one statement by itself; raises `BackendRefused` for one that the database does not permit."""

RETRIES = 10
"""How often a transaction is tried that others keep from being carried out."""


class MaybeDone(BackendUnavailable):
    """the connection broke while the operation was under way: it may or may not have been carried out"""


class NotSent(BackendUnavailable):
    """the database cannot be reached; nothing was carried out"""


class NoRoom(NotSent, BackendFull):
    """the database has no room for more; nothing was carried out"""


class Refused(BackendRefused):
    """the database refused the operation, and nothing of it was carried out"""


class Joined(Protocol):
    """A connection of the application, which commits by itself what is carried out here."""

    blocks: bool
    """Whether `run` waits for no event loop."""

    async def run(self, operation: Operation[T]) -> T:
        """Carry out a program within the transaction that is open there, all or nothing."""
        ...


class Store(Protocol):
    """Belongs to the event loop of its first use."""

    address: Address
    place: str
    """The same for every way to write the same database in this process."""
    own_clock: bool
    """Whether the database has a clock of its own, that `now` may differ from."""
    specialist: Specialist
    """Who knows what can be wrong with it."""

    def sibling(self) -> Store:
        """The same database, for another loop."""
        ...

    async def run(self, operation: Operation[T], *, write: bool = True) -> T:
        """Carry out a program in one transaction, all or nothing."""
        ...

    async def calm(self) -> None:
        """Wait until everything ordered so far is carried out, whether anybody still waits for it or not."""
        ...

    async def hear(self, bells: Bells, seconds: float, rings: int, idle: int) -> bool:
        """Wait until something may have changed, so long at most; False: time is over, and nothing has.

        `rings` were heard before the last look at the store, `idle` looks in a row found nothing.
        """
        ...

    async def tell(self) -> None:
        """Let other processes know that something became ready."""
        ...

    def join(self, connection: object) -> Joined:
        """A connection of the application to the same database; raises `Unsupported` for one of a wrong kind."""
        ...

    async def facts(self) -> Mapping[str, Sequence[Row]] | None:
        """What can be told of the database without asking it; None: there is none yet."""
        ...

    def bedside(self, *, patience: str = "") -> AbstractAsyncContextManager[Say]:
        """A connection to the database as it is: nothing is made when it is opened, and no table is needed.

        `patience` instead of the URL's timeout, for what may take long.
        """
        ...

    async def migrate(self) -> tuple[int, int]:
        """Bring the tables up to date: (version before, version now)."""
        ...

    async def close(self) -> None:
        """Let go of connections; a closed store opens them again when used."""
        ...


class Shared:
    """What all backends of one process share that serve one namespace of one database."""

    def __init__(self) -> None:
        self.bells = Bells()
        self.places = Numbers()
        self.fences = Numbers(NEVER_BACK)


_shared: weakref.WeakValueDictionary[tuple[str, str], Shared] = weakref.WeakValueDictionary()


def shared(place: str, namespace: str) -> Shared:
    """The one for this namespace of this database."""
    return _shared.setdefault((place, namespace), Shared())
