"""Who ordered what at the console: kept by the backend where it can, and else by this process."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
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
REFUSALS = "refusals"
"""The page of what those were refused who only look: whatever they send, it takes no order's place."""
MOST_REFUSALS = 50
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


class _Page:
    """One of the backend's notebook, and what that does not have of it, the latest last."""

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most
        self.here: deque[Order] = deque(maxlen=most)


class Journal:
    """One for a console."""

    def __init__(self, backend: Callable[[], Backend], clock: Clock) -> None:
        self._backend, self._clock = backend, clock
        self._orders = _Page(PAGE, MOST)
        self._refusals = _Page(REFUSALS, MOST_REFUSALS)

    async def keep(self, order: Order, *, refused: bool = False) -> None:
        """Write it down; raises nothing: what was ordered is done. `refused`: whoever sent it may only look."""
        page = self._refusals if refused else self._orders
        page.here.append(order)
        if Capability.NOTES not in self._backend().capabilities:
            return
        bringing = list(page.here)
        page.here.clear()  # another order that comes meanwhile does not bring them as well
        lines = [Line(page.name, _line(one), page.most, KEPT) for one in bringing]
        try:
            async with asyncio.timeout(PATIENCE):
                await self._backend().jot(lines, self._clock.now())
        except (WorksongError, TimeoutError) as failure:
            page.here.extendleft(reversed(bringing))
            log.warning("an order is not written down yet, only in the log worksong.audit: %s", failure)
        except BaseException:  # whoever asked has gone: it may be there or not
            page.here.extendleft(reversed(bringing))
            raise

    async def orders(self) -> Orders:
        """What is known. Raises `BackendUnavailable`."""
        shared = Capability.NOTES in self._backend().capabilities
        pages = [await self._on(page, shared=shared) for page in (self._refusals, self._orders)]
        return Orders(_latest_first([order for page in pages for order in page]), shared=shared)

    async def _on(self, page: _Page, *, shared: bool) -> Sequence[Order]:
        """As many as are kept of it."""
        found = [_read(line) for line in await self._backend().lines(page.name)] if shared else []
        kept = [order for order in found if order is not None]
        return _latest_first([*reversed(page.here), *kept])[: page.most]


def _latest_first(orders: Sequence[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: -order.at)


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
