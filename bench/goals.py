"""What worksong is held to beside others, and whether it keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.peer import EQUAL
from bench.results import Backlog, Field, Pages, Pair, Quiet, Results, Sql
from bench.tables import number, table


class Goal(NamedTuple):
    """One line."""

    text: str
    measured: str
    kept: bool


def text(found: Iterable[Goal]) -> str:
    """The table."""
    rows = [(goal.text, goal.measured, "yes" if goal.kept else "no") for goal in found]
    return table(["goal", "measured", "kept"], rows)


def goals(results: Results) -> list[Goal]:
    """Of all that was measured."""
    found = of_redis(results.redis) if results.redis else []
    found += of_sql(results.sql) if results.sql else []
    return found + of_foreign(results.foreign) + of_console(results.console)


# on Redis

GO = "gocraft/work"


class Bar(NamedTuple):
    """How many times as fast worksong must be as gocraft/work, in one of the pairs."""

    least: float
    text: str
    what: str = "drain"
    kind: str = "async"
    best: bool = True
    """Both as many jobs at once as each does best, or the same number."""
    processes: int = 1


BARS = (
    Bar(4.0, "drained, each with as many jobs at once as it does best, at least {} times as fast as {}"),
    Bar(2.5, "drained, both with 25 jobs at once, at least {} times as fast as {}", best=False),
    Bar(6.0, "drained by two processes, at least {} times as fast as by one of {}", processes=2),
    Bar(3.0, "plain functions drained at least {} times as fast as {}", kind="plain"),
    Bar(6.0, "`perform_many` enqueues at least {} times as fast as the loop of {}", what="enqueue bulk"),
    Bar(2.0, "200 coroutines enqueue at least {} times as fast as 20 goroutines of {}", what="enqueue concurrent"),
)
PICK_UP_MS = {50: 1.0, 99: 3.0}
"""Percent -> so many of the jobs begin within so many milliseconds."""
COMMANDS, CPU, MEMORY = 10.0, 1.0, 45.0
"""Of an idle worker at most: a second, percent, MB."""
FLAT = 1.2
"""How many times as long a claim may take from a queue that holds a million jobs."""


def of_redis(field: Field) -> list[Goal]:
    """Beside gocraft/work, where that could be had, and of an idle worker."""
    found = [_bar(bar, pair) for bar in BARS for pair in field.pairs_of(GO, bar.what) if _is_of(bar, pair)]
    worksong = field.subject("worksong")
    if worksong.quiet:
        found += _quiet(worksong.quiet)
    if worksong.memory_mb:
        held = statistics.median(worksong.memory_mb)
        found.append(Goal(f"a worker holds at most {MEMORY:g} MB", f"{held:.0f} MB", held <= MEMORY))
    return found + (_flat(field.backlog) if field.backlog else [])


def _is_of(bar: Bar, pair: Pair) -> bool:
    if bar.what != "drain":
        return True
    ours, theirs = pair.our_cell, pair.their_cell
    if ours.pinned or theirs.processes > 1:
        return False
    equal = ours.slots == theirs.slots == EQUAL
    return (ours.kind, ours.processes, equal) == (bar.kind, bar.processes, not bar.best)


def _bar(bar: Bar, pair: Pair) -> Goal:
    return _times(bar.text.format(f"{bar.least:g}", pair.system), pair.our_rate() / pair.their_rate(), bar.least)


def _times(goal: str, ratio: float, least: float) -> Goal:
    return Goal(goal, f"{number(ratio) if ratio >= 1 else f'{ratio:.2f}'} times", ratio >= least)


def _quiet(quiet: Quiet) -> list[Goal]:
    found: list[Goal] = []
    for whose, took in (("another Python process", quiet.pick_up_ms), *quiet.fed_ms.items()):
        for percent, most in PICK_UP_MS.items():
            goal = f"{percent} % of the jobs from {whose} begin within {most:g} ms"
            found.append(Goal(goal, f"{took[percent]:.1f} ms", took[percent] <= most))
    if quiet.commands_per_second is not None:
        asked = quiet.commands_per_second
        goal = f"an idle worker costs at most {COMMANDS:g} commands of Redis a second"
        found.append(Goal(goal, f"{asked:.1f}", asked <= COMMANDS))
    if quiet.cpu_percent is not None:
        used = quiet.cpu_percent
        found.append(Goal(f"an idle worker uses at most {CPU:g} % of a core", f"{used:.1f} %", used <= CPU))
    return found


def _flat(backlog: Backlog) -> list[Goal]:
    ratio = backlog.claim_ms["full"][50] / backlog.claim_ms["empty"][50]
    goal = (
        f"a claim from a queue of {number(backlog.jobs)} jobs takes at most {FLAT:g} times as long as from a short one"
    )
    return [Goal(goal, f"{ratio:.2f} times", ratio <= FLAT)]


# in the formats of others

FOREIGN = {
    "Resque": (("goworker", "drain", 3.0),),
    "RabbitMQ": (("dramatiq", "drain", 5.0), ("dramatiq", "enqueue bulk", 5.0)),
    "Faktory": (("faktory_worker_go", "drain", 1.0),),
}
"""As RATIOS."""
FOREIGN_PICK_UP_MS = {"Faktory": 20.0}
"""Format -> milliseconds within which 99 of 100 jobs from another process begin."""


def of_foreign(fields: Sequence[Field]) -> list[Goal]:
    """Beside those whose formats they are."""
    found: list[Goal] = []
    for field in fields:
        for system, what, least in FOREIGN.get(field.name, ()):
            found += _at_least(field, system, what, least)
        found += _soon(field)
    return found


def _soon(field: Field) -> list[Goal]:
    quiet, most = field.subject("worksong").quiet, FOREIGN_PICK_UP_MS.get(field.name)
    if quiet is None or most is None:
        return []
    goal = f"{field.name}: 99 % of the jobs from another process begin within {most:g} ms"
    return [Goal(goal, f"{quiet.pick_up_ms[99]:.1f} ms", quiet.pick_up_ms[99] <= most)]


# on databases

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


def of_sql(sql: Sql) -> list[Goal]:
    """Beside those that keep jobs there, and beside jobs that wait."""
    found: list[Goal] = []
    for field in sql.fields:
        for system, what, most in RATIOS.get(field.name, ()):
            found += _at_least(field, system, what, most)
        found += _pick_ups(field)
    for backlog in sql.backlogs:
        found += _backlog(backlog)
    return found


def _at_least(field: Field, system: str, what: str, least: float) -> list[Goal]:
    """Each at its best in one process."""
    pairs = [pair for pair in field.pairs_of(system, what) if pair.our_cell.processes == 1 and not pair.our_cell.pinned]
    if not pairs:
        return []
    ratio = max(map(Pair.our_rate, pairs)) / max(map(Pair.their_rate, pairs))
    return [_times(f"{field.name}: {_VERBS[what]} at least {least:g} times as fast as {system}", ratio, least)]


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


# of the console

PAGE_MS = 100.0
"""So long may a page take, of 95 % of all looks."""


def of_console(found: Sequence[Pages]) -> list[Goal]:
    """The slowest page of each backend."""
    return [_page(one) for one in found]


def _page(one: Pages) -> Goal:
    page, took = max(((page, took[95]) for page, took in one.took_ms.items()), key=lambda pair: pair[1])
    goal = f"{one.name}: 95 % of the looks at each page take at most {PAGE_MS:g} ms beside {number(one.jobs)} jobs"
    return Goal(goal, f"{number(took)} ms, {page}", took <= PAGE_MS)
