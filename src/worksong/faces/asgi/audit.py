"""Who has changed what: a line in the log `worksong.audit` for each write that was tried, also for those refused."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as _said

log = logging.getLogger("worksong.audit")


def note(who: str, did: str, status: int | str, *, about: Sequence[str] = (), address: str = "") -> None:
    """One JSON object in ASCII, so that nothing in it is taken for another line."""
    if log.isEnabledFor(logging.INFO):
        # Each request writes one. To have it made of a dict, and to find out where in the program that is, would cost
        # as much as all the rest of it.
        ids = ", ".join(map(_said, about[:20]))
        text = (
            f'{{"who": {_said(who)}, "from": {_said(address)}, "did": {_said(did)}, '
            f'"status": {status if isinstance(status, int) else _said(status)}, "count": {len(about)}, "ids": [{ids}]}}'
        )
        log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None, "note"))
