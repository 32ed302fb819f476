"""What every theme of the contract stands on: the hooks of a backend under test, and `needs`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeAlias

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.ports.backend import Backend

Test: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

REFUSED = frozenset(
    {
        Capability.DELAY,
        Capability.UNIQUE,
        Capability.POSITIONAL,
        Capability.BROWSE,
        Capability.REVIVE,
        Capability.CANCEL,
        Capability.PAUSE,
        Capability.PURGE,
        Capability.RESULTS,
        Capability.TRANSACTION,
        Capability.POOLS,
        Capability.DIRECT,
        Capability.EFFECT,
        Capability.MOVE,
        Capability.HISTORY,
        Capability.NOTES,
    }
)
"""What a backend refuses loudly when it lacks it; of the others it just promises nothing."""


def needs(*wanted: Capability) -> Callable[[Test], Test]:
    """The test holds where all of `wanted` is declared.

    Elsewhere the same test must end in a refusal, if what is missing is a method or an option of a job; a missing
    behaviour is reported as not promised.
    """

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        async def judged(self: Any, backend: Backend, **more: Any) -> None:
            missing = [capability for capability in wanted if capability not in backend.capabilities]
            if not missing:
                await test(self, backend=backend, **more)
                return
            silent = [capability for capability in missing if capability not in REFUSED]
            if silent:
                pytest.skip(f"{backend.name} does not promise that {silent[0].value}")
            with pytest.raises((Unsupported, InvalidArguments)):
                await test(self, backend=backend, **more)

        return judged

    return decorate


class Suite:
    """Give `backend` as a fixture: a fresh, empty one for each test, closed afterwards."""

    pytestmark = pytest.mark.asyncio

    def queue_of(self, backend: Backend, handler: str, queue: str = "default") -> str:
        """The queue that pause, purge and listings know: where a job type is the queue, the type."""
        return queue if Capability.QUEUES in backend.capabilities else handler

    def unreachable(self) -> Backend | None:
        """A backend whose server does not answer, if there is a server."""
        return None

    def transaction(self, backend: Backend) -> AbstractAsyncContextManager[object]:
        """A connection of an application with a transaction open, which its end commits and an exception rolls back."""
        return nullcontext(object())

    async def change(self, connection: Any) -> None:
        """Change something in the database, as a handler does on the connection that it was lent."""
        pytest.skip("this suite does not say how a handler would change something")

    async def fail(self, connection: Any) -> None:
        """Run a statement there that the database refuses."""
        pytest.skip("this suite does not say how a handler would fail")

    async def changes(self) -> int:
        """How many changes of this test everybody sees."""
        return 0

    async def plant(self, backend: Backend, handler: str, raw: bytes) -> None:
        """Put foreign bytes among the waiting jobs of a type, where others write into the same store."""
        pytest.skip(f"{backend.name} holds nothing that others write")
