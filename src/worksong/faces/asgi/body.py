"""The body of a request, as far as it is not too large or too slow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worksong.faces.asgi.refused import Refused

if TYPE_CHECKING:  # the command line comes by here, and has no Starlette of its own
    from starlette.types import Receive

SLOWEST = 30.0
"""Seconds a body may take."""


WHOLE = "worksong.whole"
"""Among the extensions of a request: its body is there, and need not be waited for."""


async def whole(receive: Receive, largest: int, *, arrived: bool = False) -> bytes:
    """All of it; raises `Refused` as soon as it is more than `largest` bytes. `arrived`: the server has it."""
    if arrived:
        return await _all(receive, largest)
    try:
        async with asyncio.timeout(SLOWEST):
            return await _all(receive, largest)
    except TimeoutError:
        raise Refused(408, "bad_request", f"the body took longer than {SLOWEST:g} s") from None


async def _all(receive: Receive, largest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "bad_request", "the body did not arrive whole")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            raise too_large(largest)
        if not message.get("more_body"):
            return b"".join(parts)


def too_large(largest: int) -> Refused:
    """The no to a body of more bytes."""
    return Refused(413, "bad_request", f"the body is larger than {largest:,} bytes")
