"""How a worker process is: its memory, and how late its loop; told to the store now and then, for listings."""

from __future__ import annotations

import msgspec

from worksong.ports.notebook import Line, Notebook

KEPT = 120.0
"""Seconds for which it is told; a process that lives tells it again every ten."""

_encode = msgspec.json.Encoder().encode


class Vitals(msgspec.Struct, frozen=True, array_like=True):
    """Of one process."""

    at: float
    """When it was measured, in Unix seconds."""
    memory: int
    """Bytes that it has in memory; 0: not known."""
    lag: float
    """Seconds that its loop was late: what blocks it makes every job wait."""


_decode = msgspec.json.Decoder(Vitals).decode


async def tell(notebook: Notebook, pool_id: str, vitals: Vitals) -> None:
    """Write down how the process of a pool is."""
    await notebook.jot([Line(_page_of(pool_id), _encode(vitals).decode(), 1, KEPT)], vitals.at)


async def vitals_of(notebook: Notebook, pool_id: str, now: float) -> Vitals | None:
    """How it was a moment ago; None: nobody tells."""
    for line in await notebook.lines(_page_of(pool_id)):
        try:
            found = _decode(line)
        except msgspec.MsgspecError:  # another version wrote it, or somebody else did
            continue
        return found if now - found.at < KEPT else None
    return None


def _page_of(pool_id: str) -> str:
    return f"vitals:{pool_id}"
