"""What handlers log while they run, kept until it is known whether the run has failed."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque

from worksong.domain.job import Job
from worksong.domain.names import one_line
from worksong.engine.current import CURRENT

LINES = 20
"""Of a run, the last ones."""
LONGEST = 300
"""Characters of a line."""
RUNS = 500
"""Runs whose lines are kept at the same time; of the others that log, those that began to log first are forgotten."""

Key = tuple[str, int]


class Scribe(logging.Handler):
    """Give it to a logger, as `worksong run` does to the root: it writes nothing anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: OrderedDict[Key, deque[str]] = OrderedDict()
        """The lines of each run that has logged; to be looked at only, but for this class."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line that was logged within a run; our own lines tell what the page of a job says anyway."""
        context = CURRENT.get(None)
        if context is None or record.name.partition(".")[0] == "worksong":
            return
        key = _key(context.job)
        lines = self.runs.get(key)
        if lines is None:
            lines = self.runs[key] = deque(maxlen=LINES)
            if len(self.runs) > RUNS:
                self.runs.popitem(last=False)
        lines.append(one_line(f"{record.levelname} {record.name}: {_said(record)}"[:LONGEST]))

    def take(self, job: Job) -> tuple[str, ...]:
        """The lines of the run of a job that has ended."""
        if not self.runs:
            return ()
        self.acquire()  # other threads may be logging
        try:
            return tuple(self.runs.pop(_key(job), ()))
        finally:
            self.release()


def _key(job: Job) -> Key:
    return job.id, job.attempt


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # what does not fit its own arguments is the program's mistake, told by its other handlers
        return str(record.msg)
