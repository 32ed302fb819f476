"""How the firings of periodic jobs went: the last one of each schedule, brought to the store now and then."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from worksong.domain.errors import BackendUnavailable
from worksong.domain.firing import tick_of
from worksong.domain.outcome import Outcome
from worksong.domain.tally import ENDINGS, PLACE
from worksong.engine.pauses import Key
from worksong.ports.backend import Running
from worksong.ports.notebook import Line, Notebook
from worksong.registry import Periodic

MOST = 5
"""Lines of a schedule: several processes may tell of theirs at the same time, and the latest firing counts."""
KEPT = 400 * 86_400.0
"""Seconds for which they are: what fires once in a year is remembered until the next time."""
AHEAD = 60.0
"""Seconds before its time at which a firing may have ended, where clocks differ; an id of a later one is invented."""

_encode = msgspec.json.Encoder().encode


class Firing(msgspec.Struct, frozen=True, array_like=True):
    """A run of a periodic job; all times are Unix seconds."""

    due: float
    began: float
    ended: float
    ending: str
    """One of `ENDINGS`."""
    attempt: int = 1

    @property
    def drift(self) -> float | None:
        """How late it began, in seconds; None for a run after a failure, which waited for another reason."""
        return max(0.0, self.began - self.due) if self.attempt == 1 else None


_decode = msgspec.json.Decoder(Firing).decode


class Firings:
    """Told of by the loop that runs the jobs."""

    def __init__(self, entries: Sequence[Periodic]) -> None:
        """`entries`: the periodic jobs of which is told; some may be added later."""
        self._entries = entries
        self._news: dict[Key, Firing] = {}

    def note(self, running: Running, outcome: Outcome, now: float) -> None:
        """A run has ended; its id says whether it was a firing, but anybody may have enqueued it."""
        job = running.delivery.job
        for spec in [entry.schedule.spec for entry in self._entries if entry.handler == job.handler]:
            due = tick_of(job.id, job.handler, spec)
            if due is not None and due <= now + AHEAD:
                ending = ENDINGS[PLACE[type(outcome)]]
                self._news[job.handler, spec] = Firing(due, running.started_at, now, ending, job.attempt)

    async def write(self, notebook: Notebook, now: float) -> None:
        """Tell the store what is new; what it was away for is told the next time, unless there is something newer."""
        news, self._news = self._news, {}
        if not news:
            return
        try:
            told = [*news.items()]  # the loop may be about to add one
            lines = [Line(page_of(*key), _encode(firing).decode(), MOST, KEPT) for key, firing in told]
            await notebook.jot(lines, now)
        except BackendUnavailable:
            self._news = news | self._news
            raise


def page_of(handler: str, spec: str) -> str:
    """The page of the notebook on which the firings of a schedule are."""
    return f"firings:{handler}:{spec}"


async def last_firing(notebook: Notebook, handler: str, spec: str) -> Firing | None:
    """The latest that the store was told of; None: none was, or that was long ago."""
    found: list[Firing] = []
    for line in await notebook.lines(page_of(handler, spec)):
        try:
            found.append(_decode(line))
        except msgspec.MsgspecError:  # another version wrote it, or somebody else did
            continue
    return max(found, key=lambda firing: (firing.due, firing.ended), default=None)
