"""A transaction on a connection to a server: how it is to go, and how far it has come."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from worksong.adapters.sql.steps import Step

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class Server(Protocol[C_contra]):
    """What a transaction needs of a dialect: see `ServerStore`."""

    def opening(self, *, write: bool) -> str: ...

    async def begin(self, connection: C_contra, *, write: bool, lasting: bool = True) -> None: ...

    async def commit(self, connection: C_contra) -> None: ...

    async def execute(self, connection: C_contra, step: Step, before: str = "", after: str = "") -> Any: ...


class Way(NamedTuple):
    """How a program is to be carried out: see `Store.run`."""

    write: bool
    lasting: bool
    alone: bool


class Passage(Generic[C]):
    """A transaction on its way, and how far it has come."""

    def __init__(self, store: Server[C], connection: C, way: Way) -> None:
        self._store, self._connection, self._way = store, connection, way
        self._opening = "" if way.alone else store.opening(write=way.write)
        self._joins, self._open = bool(self._opening), False
        self.begun = self.committing = way.alone

    async def begin(self) -> None:
        if not (self._way.alone or self._joins):
            await self._store.begin(self._connection, write=self._way.write, lasting=self._way.lasting)
            self.begun = self._open = True

    async def execute(self, step: Step) -> Any:
        if not self._joins:
            return await self._store.execute(self._connection, step)
        before, self._opening = self._opening, ""
        self.committing = step.last
        self.begun = self.begun or step.last
        answer = await self._store.execute(self._connection, step, before, "COMMIT" if step.last else "")
        self.begun, self._open = True, not step.last
        return answer

    async def end(self) -> None:
        self.committing = True
        if self._open:
            await self._store.commit(self._connection)
