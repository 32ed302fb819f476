"""The top of the screen: where the jobs are, whether the server answers, how many there are and how that changes."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from worksong.domain.lifecycle import State
from worksong.domain.names import one_line
from worksong.faces.cli.screen import clip
from worksong.service.contact import Contact
from worksong.service.glance import Glance
from worksong.service.history import History, bars
from worksong.service.moments import span
from worksong.service.redaction import without_logins

COUNTED = {
    State.QUEUED: ("waiting", "$text-primary"),
    State.RUNNING: ("running", "$text-success"),
    State.SCHEDULED: ("scheduled", "$text-secondary"),
    State.RETRY: ("retry", "$text-warning"),
    State.DEAD: ("dead", "$text-error"),
}
STEADY = 0.5
"""Jobs per minute: less than this is no change."""
PAUSED_SHOWN = 80


class Masthead(Widget):
    """One line: whose jobs, where, and whether the server answers."""

    def __init__(self, where: str, namespace: str, remarks: str) -> None:
        super().__init__()
        self._where, self._namespace, self._remarks = one_line(where), one_line(namespace), remarks

    def compose(self) -> ComposeResult:
        name = Content.assemble(("worksong ", "bold $text-accent"), (self._namespace, "bold"), f"  {self._where}")
        yield Static(name, id="place")
        yield Static("", id="contact", markup=False)

    def tell(self, contact: Contact) -> None:
        """Say how it stands with the server."""
        word, tone = "connecting", "dim"
        if contact.away:
            word, tone = "\u2716 away", "bold $text-error"
        elif contact.answered_at is not None:
            word, tone = "\u25cf live", "$text-success"
        text = Content.assemble((word, tone), (f"  {self._remarks}", "dim"))
        self.query_one("#contact", Static).update(text)


class Banner(Static):
    """What is wrong with the server; not there while it answers."""

    def tell(self, contact: Contact, now: float) -> None:
        self.display = contact.away
        if contact.away:
            old = "" if contact.answered_at is None else f"; what you see is {span(now - contact.answered_at)} old"
            why = one_line(without_logins(" ".join(contact.error.split())))
            self.update(Content(f"No answer for {span(now - contact.since)}, still trying{old}: {why}"))


class Counter(Widget):
    """How many jobs are in a state, how that changes, and the last minutes as bars."""

    def __init__(self, state: State) -> None:
        super().__init__(id=f"count-{state.value}")
        self._state = state
        self._count: int | None = None
        self._history: History | None = None
        self._now = 0.0

    def tell(self, count: int, history: History, now: float) -> None:
        """Show this count."""
        self._count, self._history, self._now = count, history, now
        self.refresh()

    def render(self) -> Content:
        label, tone = COUNTED[self._state]
        width = max(1, self.size.width)
        if self._count is None or self._history is None:
            return Content.assemble((label, "dim"), "\n\u2013\n")
        figure = f"{self._count:,}"
        pace = _pace(self._history.per_minute(self._state), width - len(figure) - 1)
        line = bars(self._history.course(self._state, self._now, width))
        shade = tone if self._count else "dim"
        return Content.assemble(
            (f"{label}\n", "dim"),
            (figure[:width], f"bold {shade}"),
            (f" {pace}\n", "dim"),
            (line, tone),
        )


class Counters(Horizontal):
    """One counter for each state."""

    def compose(self) -> ComposeResult:
        for state in COUNTED:
            yield Counter(state)

    def tell(self, glance: Glance, history: History, now: float) -> None:
        for counter, state in zip(self.query(Counter), COUNTED, strict=True):
            counter.tell(glance.counts.get(state, 0), history, now)


class Remarks(Static):
    """What else can be known at a glance, on one line."""

    def tell(self, glance: Glance, history: History) -> None:
        self.update(Content(" \u00b7 ").join(_remarks(glance, history)))


def _remarks(glance: Glance, history: History) -> list[Content]:
    found: list[Any] = []
    if glance.workers:
        found.append((glance.workers, "" if glance.pools else "$text-warning"))
    if glance.paused:
        names = clip(", ".join(glance.paused), PAUSED_SHOWN)
        found.append((f"paused: {names}", "$text-warning"))
    if glance.latency:
        found.append((f"oldest waits {span(glance.latency)}", ""))
    left = history.empty_in(State.QUEUED)
    if left:
        found.append((f"at this pace empty in {span(max(1.0, left))}", ""))
    return [Content.styled(text, style) for text, style in found]


def _pace(pace: float | None, width: int) -> str:
    """An arrow and jobs per minute; only the arrow where there is no room."""
    if pace is None or abs(pace) < STEADY:
        return ""
    arrow = "\u25b2" if pace > 0 else "\u25bc"
    full = f"{arrow} {abs(pace):,.0f}/min"
    return full if len(full) <= width else arrow
