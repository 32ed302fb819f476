"""What the backends on databases are held to, and whether they keep it."""

from __future__ import annotations

from typing import NamedTuple

from bench.results import Backlog, Field, Pair, Results
from bench.tables import number, table


class Goal(NamedTuple):
    """One line."""

    text: str
    measured: str
    kept: bool


def text(results: Results) -> str:
    """The table."""
    rows = [(goal.text, goal.measured, "yes" if goal.kept else "no") for goal in goals(results)]
    return table(["goal", "measured", "kept"], rows)


def goals(results: Results) -> list[Goal]:
    """Of all that was measured."""
    if results.sql is None:
        return []
    found: list[Goal] = []
    for field in results.sql.fields:
        for system, what, most in RATIOS.get(field.name, ()):
            found += _at_least(field, system, what, most)
        found += _pick_ups(field)
    for backlog in results.sql.backlogs:
        found += _backlog(backlog)
    return found


RATIOS = {
    "PostgreSQL": (
        ("procrastinate", "drain", 20.0),
        ("saq", "drain", 20.0),
        ("procrastinate", "enqueue bulk", 5.0),
    ),
    "SQLite": (("huey", "drain", 5.0),),
    "MariaDB": (("worksong on PostgreSQL", "drain", 0.5),),
}
"""Server -> what is measured beside whom, and how many times as fast worksong must be there."""
PICK_UP = {"PostgreSQL": (5.0, 5.0), "SQLite": (20.0, 100.0)}
"""Server -> milliseconds within which half of the jobs begin: of the same process, and of another one."""


def _at_least(field: Field, system: str, what: str, least: float) -> list[Goal]:
    """Each at its best in one process."""
    pairs = [pair for pair in field.pairs_of(system, what) if pair.our_cell.processes == 1]
    if not pairs:
        return []
    ratio = max(map(Pair.our_rate, pairs)) / max(map(Pair.their_rate, pairs))
    goal = f"{field.name}: {_VERBS[what]} at least {least:g} times as fast as {system}"
    return [Goal(goal, f"{number(ratio) if ratio >= 1 else f'{ratio:.2f}'} times", ratio >= least)]


_VERBS = {"drain": "drained", "enqueue bulk": "enqueued in bulk"}


def _pick_ups(field: Field) -> list[Goal]:
    quiet = field.subject("worksong").quiet
    if quiet is None or field.name not in PICK_UP:
        return []
    found = [("the same process", quiet.same_process_ms), ("another process", quiet.pick_up_ms)]
    return [
        Goal(_begin(field, where, most), f"{took[50]:.1f} ms", took[50] <= most)
        for (where, took), most in zip(found, PICK_UP[field.name], strict=True)
        if took
    ]


def _begin(field: Field, where: str, most: float) -> str:
    return f"{field.name}: half of the jobs from {where} begin within {most:g} ms"


def _backlog(backlog: Backlog) -> list[Goal]:
    empty, full = backlog.claim_ms["empty"][99], backlog.claim_ms["full"][99]
    goal = f"{backlog.name}: with {number(backlog.jobs)} jobs queued, 99 % of the claims take at most twice as long"
    claims = Goal(goal, f"{number(full / empty)} times", full <= 2 * empty)
    grown = backlog.memory_mb["full"] - backlog.memory_mb["empty"]
    goal = f"{backlog.name}: with {number(backlog.jobs)} jobs scheduled, a worker grows by less than 5 MB"
    return [claims, Goal(goal, f"{grown:.1f} MB", grown < 5.0)]
