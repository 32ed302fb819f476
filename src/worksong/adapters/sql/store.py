"""What a dialect gives to the backend: somewhere to run programs, and a way to hear that something changed."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from worksong.adapters.bells import Bells
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.doctor.chart import Specialist
from worksong.adapters.sql.places import NEVER_BACK, Numbers
from worksong.adapters.sql.steps import Operation, Row
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable, Unsupported, WorksongError

T = TypeVar("T")

Say: TypeAlias = Callable[[str], Awaitable[list[Row]]]
"""Carries out one statement by itself; raises `BackendRefused` for one that the database does not permit."""

LENT = 32
"""Connections that handlers may have at once; further ones wait."""
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


class EndedEarly(WorksongError):
    """the transaction was over before its handler was: by a statement that ends it, or by an error after which the
    database undoes all of it; let the handler raise such errors, and leave the commit to its return"""


class Joined(Protocol):
    """A connection of the application, which commits by itself what is carried out here."""

    blocks: bool
    """Whether `run` waits for no event loop."""

    async def run(self, operation: Operation[T]) -> T:
        """Carry out a program within the transaction that is open there, all or nothing."""
        ...

    def closed(self) -> bool:
        """Whether the connection can be used no more."""
        ...

    def on_commit(self, call: Callable[[], None]) -> None:
        """Have it called once the transaction is committed, where the connection can tell."""
        ...


class Lent(Protocol):
    """A connection lent to a handler, in a transaction of its own."""

    @property
    def connection(self) -> Any: ...

    async def commit(self, operation: Operation[T]) -> T:
        """Carry out a program there and commit; what raises leaves nothing, but for `MaybeDone`. The end of it."""
        ...

    async def undo(self) -> None:
        """Roll back what is not committed, and take the connection away; raises nothing."""
        ...


class Store(Protocol):
    """Belongs to the event loop of its first use."""

    address: Address
    dialect: str
    place: str
    """The same for every way to write the same database in this process."""
    own_clock: bool
    """Whether the database has a clock of its own, that `now` may differ from."""
    specialist: Specialist
    """Who knows what can be wrong with it."""

    def sibling(self) -> Store:
        """The same database, for another loop."""
        ...

    one_step: bool
    """Whether one statement can find rows, change them and tell of them: `take` and `finish` are a whole operation."""
    copies: bool
    """Whether `insert_new` takes in many rows faster, which cannot be there before."""

    async def run(self, operation: Operation[T], *, write: bool = True, lasting: bool = True, alone: bool = False) -> T:
        """Carry out a program in one transaction, all or nothing.

        What need not be `lasting` may be undone when the machine or the server dies, and does not wait for the disk.
        One that is `alone` is a single statement, a transaction by itself.
        """
        ...

    async def lend(self, *, blocks: bool) -> Lent:
        """Begin a transaction on a connection for a handler; `blocks`: one that runs in a thread."""
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

    def join(self, lent: Any) -> Joined:
        """The transaction of a connection of the application, as `lent.KINDS` makes it for this dialect."""
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


def never_alone(what: str, shown: str) -> Unsupported:
    """What a handler may not do with a connection that is lent to it."""
    return Unsupported(
        f"{what} for a handler alone",
        shown,
        "return from the handler, and what it wrote is committed together with its job's ending; "
        "raise, and nothing of it is left",
    )


def is_same_place(one: Store, other: Store) -> bool:
    """Whether a transaction of one reaches the tables of the other, and promises as much."""
    return _whereabouts(one) == _whereabouts(other)


def _whereabouts(store: Store) -> tuple[object, ...]:
    a = store.address
    server = (a.host, a.port, a.user, a.database) if a.host else store.place
    return store.dialect, server, *map(a.options.get, ("host", "unix_socket", "synchronous"))


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
