"""Who has changed what: a line in the log `worksong.audit` for each write that was tried, also for those refused."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _said
from typing import Any

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
        log.handle(_record(text))


def _record(text: str) -> logging.LogRecord:
    """As `logging` makes it, but for what is the same in all of a thread, which takes most of the time."""
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return _made(text)
    thread = threading.current_thread()
    alike, now = _alike(os.getpid(), thread.ident, thread.name), time.time()
    record = logging.LogRecord.__new__(logging.LogRecord)
    vars(record).update(alike)
    record.msg, record.created, record.msecs = text, now, now % 1 * 1000 // 1
    record.relativeCreated += (now - alike["created"]) * 1000
    if "taskName" in alike:  # from Python 3.12 on; each request is a task of its own
        vars(record)["taskName"] = _task()
    return record


@lru_cache(16)
def _alike(process: int, ident: int | None, thread: str) -> Mapping[str, Any]:
    """What is in one of this thread of this process."""
    return vars(_made(""))


def _task() -> str | None:
    """The name of the running task, as `logging` finds it; None in a thread without an event loop."""
    if not getattr(logging, "logAsyncioTasks", True):
        return None
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return None
    return task.get_name() if task else None


def _made(text: str) -> logging.LogRecord:
    return log.makeRecord(log.name, logging.INFO, __file__, 0, text, (), None, "note")
