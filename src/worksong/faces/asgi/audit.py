"""Who has changed what: a line in the log `worksong.audit` for each write that was tried, also for those refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

log = logging.getLogger("worksong.audit")


def note(who: str, did: str, status: int | str, *, about: Sequence[str] = (), address: str = "") -> None:
    """One JSON object in ASCII, so that nothing in it is taken for another line."""
    if log.isEnabledFor(logging.INFO):
        line = {"who": who, "from": address, "did": did, "status": status, "count": len(about), "ids": list(about[:20])}
        text = json.dumps(line, ensure_ascii=True)
        # Each request writes one: where in the program that is nobody asks, and to find out costs as much as the line.
        log.handle(log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None, "note"))
