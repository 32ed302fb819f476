"""Which release of an application runs: told to the store by its workers when they start, once for each release."""

from __future__ import annotations

import logging

import msgspec

from worksong.domain.errors import WorksongError
from worksong.domain.names import one_line
from worksong.ports.notebook import Line, Notebook

PAGE = "releases"
MOST = 100
"""Releases that are remembered, the latest ones."""
KEPT = 90 * 86_400.0
"""Seconds for which they are, after the last one."""
LONGEST = 60
"""Characters of a name."""

log = logging.getLogger("worksong")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[float, str]).decode


class Release(msgspec.Struct, frozen=True):
    """A release, and when its first worker was started."""

    at: float
    name: str


async def announce(notebook: Notebook, name: str, now: float) -> None:
    """Tell that a worker of this release starts; nothing new where that of the last one was of it, too. No worker
    fails to start for it."""
    name = one_line(name)[:LONGEST]
    try:
        known = await releases(notebook)
        if not known or known[-1].name != name:
            line = Line(PAGE, _encode((now, name)).decode(), MOST, KEPT)
            await notebook.jot([line], now)
    except WorksongError as failure:
        log.warning("charts will not show when release %s was started: %s", name, failure)


async def releases(notebook: Notebook) -> list[Release]:
    """The earliest first. Of workers that start at the same time several may have told of the same one: it counts from
    the first of them on."""
    found: list[Release] = []
    for line in reversed(await notebook.lines(PAGE)):
        try:
            release = Release(*_decode(line))
        except msgspec.MsgspecError:  # another version wrote it, or somebody else did
            continue
        if not found or found[-1].name != release.name:
            found.append(release)
    return found
