"""Who ordered what at the console: kept by the backend where it can, and else by this process."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from worksong.domain.capability import Capability
from worksong.domain.errors import WorksongError
from worksong.domain.names import one_line
from worksong.ports.backend import Backend
from worksong.ports.clock import Clock
from worksong.ports.notebook import Line

PAGE = "orders"
MOST = 500
"""Orders that are kept, the latest ones."""
KEPT = 90 * 86_400.0
"""Seconds for which they are, after the last one."""
PATIENCE = 2.0
"""Seconds that an order waits to be written down; what could not be is brought with the next one."""
LONGEST = 300
"""Characters that are kept of what was asked and done."""

log = logging.getLogger("worksong")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody wanted done."""

    at: float
    who: str
    address: str
    """Where it came from."""
    did: str
    """What was asked: method and path."""
    status: int
    """As in HTTP: from 400 on it was refused, or failed."""
    told: str = ""
    """What was done."""
    done: int = 0
    """To how many jobs, queues or processes."""


class Orders(NamedTuple):
    """What is known, the latest first."""

    orders: list[Order]
    shared: bool
    """Whether those of other processes, and of earlier ones, are among them."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Order).decode


class Journal:
    """One for a console."""

    def __init__(self, backend: Callable[[], Backend], clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._here: deque[Order] = deque(maxlen=MOST)
        """What the backend does not have, the latest last."""

    async def keep(self, order: Order) -> None:
        """Write it down; raises nothing: what was ordered is done."""
        self._here.append(order)
        if Capability.NOTES not in self._backend().capabilities:
            return
        bringing = list(self._here)
        self._here.clear()  # another order that comes meanwhile does not bring them as well
        lines = [Line(PAGE, _line(one), MOST, KEPT) for one in bringing]
        try:
            async with asyncio.timeout(PATIENCE):
                await self._backend().jot(lines, self._clock.now())
        except (WorksongError, TimeoutError) as failure:
            self._here.extendleft(reversed(bringing))
            log.warning("an order is not written down yet, only in the log worksong.audit: %s", failure)
        except BaseException:  # whoever asked has gone: it may be there or not
            self._here.extendleft(reversed(bringing))
            raise

    async def orders(self) -> Orders:
        """What is known. Raises `BackendUnavailable`."""
        here = list(reversed(self._here))
        if Capability.NOTES not in self._backend().capabilities:
            return Orders(here, shared=False)
        found = [_read(line) for line in await self._backend().lines(PAGE)]
        kept = [order for order in found if order is not None]
        return Orders(sorted([*here, *kept], key=lambda order: -order.at)[:MOST], shared=True)


def order_fields(order: Order) -> dict[str, Any]:
    """An order for programs."""
    return dict(msgspec.to_builtins(order))


def _line(order: Order) -> str:
    """Names of foreign jobs and queues may hold anything."""
    texts = {name: one_line(getattr(order, name)[:LONGEST]) for name in ("who", "did", "told")}
    return _encode(msgspec.structs.replace(order, **texts)).decode()


def _read(line: str) -> Order | None:
    """None: another version wrote it, or somebody else did."""
    try:
        return _decode(line)
    except msgspec.MsgspecError:
        return None
