"""The panels: which columns each has, and how a view of the backend becomes a row of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.faces.cli.listing import shown_args
from worksong.ports.backend import SILENT_FOR, BusyView, Listing, PoolView, QueueView
from worksong.service.fields import arguments, last_line, steps
from worksong.service.glance import Glance
from worksong.service.moments import relative, span
from worksong.service.redaction import redacted, without_logins

DASH = "\u2013"
FAR = 1e12
"""Unix seconds in which nothing honest happens; foreign data may hold any number."""
METER = 10
"""Cells of a progress bar."""
DONE, TO_DO = "\u25b0", "\u25b1"


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    most: int = 24
    """Not wider than this."""
    share: int = 0
    """Takes this share of the width that the others leave; 0: as wide as what it holds."""
    needs: int = 0
    """Only shown in a terminal of so many columns."""


class Cell(NamedTuple):
    """A text, and the tone it is said in: empty, muted, good, warning or bad."""

    text: str
    tone: str = ""


class Row(NamedTuple):
    """A row of a table, and the view that it shows."""

    key: str
    """Where the cursor stays when rows come and go."""
    cells: tuple[Cell, ...]
    view: Any


class Panel(NamedTuple):
    """One of the tabs."""

    name: str
    title: str
    columns: tuple[Column, ...]
    nothing: str
    """What an empty one says."""
    state: State | None = None
    """Whose jobs it pages through; None: it is no list of jobs."""


_TIMED = Column("job", most=32), Column("id", needs=110)
_FAILED = Column("fails", right=True), Column("error", share=2)
_ARGUMENTS = Column("arguments", share=1, needs=100)

QUEUES = Panel(
    "queues",
    "Queues",
    (
        Column("queue", share=1),
        Column("waiting", right=True),
        Column("oldest", right=True),
        Column("running", right=True),
        Column("limit", right=True),
        Column("state"),
    ),
    "No queues yet: they come with the first job.",
)
WORKERS = Panel(
    "workers",
    "Workers",
    (
        Column("for", right=True),
        Column("job", most=32),
        Column("id", needs=100),
        Column("check-in", share=2),
        Column("said", needs=100),
        _ARGUMENTS,
        Column("worker", most=16, needs=140),
    ),
    "Nothing runs right now.",
)
POOLS = Panel(
    "pools",
    "Pools",
    (
        Column("host"),
        Column("pid", right=True),
        Column("workers", right=True),
        Column("up", right=True),
        Column("last beat", right=True),
        Column("job types", share=1),
        Column("pool", needs=110),
    ),
    "No worker runs here; start one with `worksong run APP`.",
)
SCHEDULED = Panel(
    "scheduled",
    "Scheduled",
    (Column("runs", right=True), *_TIMED, Column("queue", most=16), Column("arguments", share=1)),
    "No scheduled jobs.",
    State.SCHEDULED,
)
RETRIES = Panel(
    "retries",
    "Retries",
    (Column("tries again", right=True), *_TIMED, *_FAILED, _ARGUMENTS),
    "No jobs wait for another try.",
    State.RETRY,
)
DEAD = Panel("dead", "Dead", (Column("died", right=True), *_TIMED, *_FAILED, _ARGUMENTS), "No dead jobs.", State.DEAD)
PANELS = (QUEUES, WORKERS, POOLS, SCHEDULED, RETRIES, DEAD)


def rows(panel: Panel, glance: Glance, listing: Listing | None, now: float) -> list[Row]:
    """What the panel shows."""
    match panel.name:
        case "queues":
            return [_queue(view) for view in glance.queues]
        case "workers":
            return [_busy(view, now) for view in glance.busy]
        case "pools":
            return [_pool(view, now) for view in glance.pools or ()]
        case _:
            return [_job(view, now, failed=panel is not SCHEDULED) for view in listing or ()]


def details(view: Any, now: float) -> list[tuple[str, str]]:
    """Everything about what a row shows: label and text, which may have several lines."""
    match view:
        case QueueView():
            return _of_queue(view)
        case BusyView():
            return _of_busy(view, now)
        case PoolView():
            return _of_pool(view, now)
        case _:
            return _of_job(view, now)


def _queue(view: QueueView) -> Row:
    cells = (
        Cell(view.name),
        Cell(f"{view.count:,}", "" if view.count else "muted"),
        Cell(span(view.latency) if view.count else DASH, "" if view.count else "muted"),
        Cell(f"{view.running:,}", "good" if view.running else "muted"),
        Cell(f"{view.limit:,}" if view.limit else DASH, "" if view.limit else "muted"),
        Cell("paused", "warning") if view.paused else Cell(""),
    )
    return Row(view.name, cells, view)


def _busy(view: BusyView, now: float) -> Row:
    cells = (
        Cell(_age(view.started_at, now)),
        Cell(view.handler),
        Cell(view.job_id, "muted"),
        Cell(meter(view.checkin)),
        Cell(_ago(view.checkin_at, now) if view.checkin else "", "muted"),
        Cell(shown_args(arguments(view), reveal=False), "muted"),
        Cell(view.worker_id, "muted"),
    )
    return Row(f"{view.worker_id} {view.job_id}", cells, view)


def meter(checkin: str) -> str:
    """A check-in; one that says how many of how many steps are done, with a bar in front."""
    found = steps(checkin)
    if found is None:
        return without_logins(checkin)
    full = min(METER, found[0] * METER // found[1])
    return f"{DONE * full}{TO_DO * (METER - full)} {checkin}"


def _pool(view: PoolView, now: float) -> Row:
    late = _bounded(now - _bounded(view.heartbeat_at)) > SILENT_FOR
    cells = (
        Cell(view.host),
        Cell(str(view.pid)),
        Cell(f"{view.concurrency:,}"),
        Cell(_age(view.started_at, now) if view.started_at else DASH),
        Cell(_ago(view.heartbeat_at, now), "warning" if late else ""),
        Cell(", ".join(view.handlers)),
        Cell(view.id, "muted"),
    )
    return Row(view.id, cells, view)


def _job(view: JobView, now: float, *, failed: bool) -> Row:
    job = view.job
    reason = without_logins(last_line(view.reason or job.error))
    middle = (Cell(f"{job.fails:,}"), Cell(reason, "bad")) if failed else (Cell(job.queue),)
    cells = (
        Cell(relative(_bounded(view.at), now)),
        Cell(job.handler),
        Cell(job.id, "muted"),
        *middle,
        Cell(shown_args(job.args, reveal=False), "muted"),
    )
    return Row(f"{job.id} {view.at}", cells, view)


def _of_queue(view: QueueView) -> list[tuple[str, str]]:
    return [
        ("queue", view.name),
        ("waiting", f"{view.count:,}"),
        ("oldest", f"waits for {span(view.latency)}" if view.count else DASH),
        ("running", f"{view.running:,}"),
        ("limit", f"{view.limit:,}" if view.limit else "none"),
        ("state", "paused" if view.paused else "open"),
    ]


def _of_busy(view: BusyView, now: float) -> list[tuple[str, str]]:
    return [
        ("job", view.handler),
        ("id", view.job_id),
        ("runs for", _age(view.started_at, now)),
        ("check-in", meter(view.checkin) or DASH),
        ("said", _ago(view.checkin_at, now) if view.checkin else DASH),
        ("worker", view.worker_id),
        ("pool", view.pool_id),
        ("arguments", _pretty(arguments(view))),
    ]


def _of_pool(view: PoolView, now: float) -> list[tuple[str, str]]:
    return [
        ("pool", view.id),
        ("host", view.host),
        ("pid", str(view.pid)),
        ("workers", f"{view.concurrency:,}"),
        ("up", _age(view.started_at, now) if view.started_at else DASH),
        ("last beat", _ago(view.heartbeat_at, now)),
        ("job types", "\n".join(view.handlers)),
    ]


def _of_job(view: JobView, now: float) -> list[tuple[str, str]]:
    job = view.job
    error = without_logins(job.error.strip())
    found = [
        ("job", job.handler),
        ("id", job.id),
        ("queue", job.queue),
        ({State.DEAD: "died", State.RETRY: "tries again"}.get(view.state, "runs"), relative(_bounded(view.at), now)),
        ("enqueued", relative(_bounded(job.enqueued_at), now)),
        ("failed", f"{job.fails:,} time{'' if job.fails == 1 else 's'}" if job.fails else ""),
        ("unique", str(job.unique or "")),
        ("unreadable", view.reason),
        ("error", error),
        ("arguments", _pretty(job.args)),
    ]
    return [(label, text) for label, text in found if text]


def _pretty(args: object) -> str:
    """Arguments on several lines, without what looks like a secret."""
    return json.dumps(redacted(args), ensure_ascii=False, indent=2) if args else "none"


def _age(since: float, now: float) -> str:
    return span(max(0.0, _bounded(now - _bounded(since))))


def _ago(at: float, now: float) -> str:
    """How long ago; a clock that is ahead of ours does not put it into the future."""
    return relative(min(_bounded(at), now), now)


def _bounded(at: float) -> float:
    return max(-FAR, min(at, FAR))


def matching(found: Sequence[Row], sought: str) -> list[Row]:
    """The rows that show the text somewhere, whatever its case."""
    folded = sought.casefold()
    return [row for row in found if any(folded in cell.text.casefold() for cell in row.cells)]
