"""worksong on PostgreSQL, SQLite and MariaDB, beside the systems that keep jobs there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import servers

from bench import backlog
from bench.databases import Mariadb, Postgres, Sqlite
from bench.environments import Refused
from bench.plan import Measuring, Plan
from bench.results import Backlog, Field, Sql, Subject
from bench.system import Failed, PythonSystem, subject

PEERS = {"PostgreSQL": ("procrastinate", "saq"), "SQLite": ("huey",)}
"""Who keeps jobs where."""
JOBS, FEW_JOBS = 1_000_000, 20_000
"""That wait while others are claimed; the latter when quick."""


class Place(NamedTuple):
    """A kind of database, and two of them: one for the measurements, one for the jobs that wait."""

    name: str
    main: backlog.Database
    full: backlog.Database


def measure(plan: Plan, directory: Path) -> Sql:
    """All that can be had here; a server that cannot be had is named with the reason."""
    with contextlib.ExitStack() as stack:
        places = [found for found in map(stack.enter_context, _places(directory)) if isinstance(found, Place)]
        fields: list[Field] = []
        backlogs: list[Backlog] = []
        for place in places:
            fields.append(_field(place, places[0], plan))
            backlogs.append(backlog.measure(place.name, place.main, place.full, FEW_JOBS if plan.quick else JOBS))
        software = ", ".join(place.main.version() for place in places)
    return Sql(software=software, fields=fields, backlogs=backlogs)


def _places(directory: Path) -> list[contextlib.AbstractContextManager[Place | None]]:
    return [_postgres(), _sqlite(directory), _mariadb()]


@contextlib.contextmanager
def _postgres() -> Iterator[Place | None]:
    with _started(servers.postgres()) as server:
        yield server and Place("PostgreSQL", Postgres(server), Postgres(server, "waiting"))


@contextlib.contextmanager
def _sqlite(directory: Path) -> Iterator[Place | None]:
    yield Place("SQLite", Sqlite(directory / "bench.db"), Sqlite(directory / "waiting.db"))


@contextlib.contextmanager
def _mariadb() -> Iterator[Place | None]:
    with _started(servers.mariadb()) as server:
        yield server and Place("MariaDB", Mariadb(server), Mariadb(server, "waiting"))


@contextlib.contextmanager
def _started(
    server: contextlib.AbstractContextManager[servers.Database],
) -> Iterator[servers.Database | None]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(server)
        except servers.Missing as missing:
            print(f"not measured: {missing}", file=sys.stderr)
            found = None
        yield found


def _field(place: Place, first: Place, plan: Plan) -> Field:
    """worksong there beside the peers; where there are none, beside worksong on the first database."""
    print(f"worksong on {place.name}", file=sys.stderr)
    worksong = PythonSystem("worksong", place.main, seconds=plan.seconds)
    others: list[PythonSystem] = []
    subjects = [subject(worksong)]
    for name in PEERS.get(place.name, ()):
        if name in plan.peers:
            try:
                others.append(PythonSystem(name, place.main, seconds=plan.seconds))
            except (Refused, Failed) as reason:
                subjects.append(Subject(name=name, absent=str(reason)))
    if place.name not in PEERS and first is not place:
        same = PythonSystem("worksong", first.main, seconds=plan.seconds, title=f"worksong on {first.name}")
        others.append(same)
    subjects += map(subject, others)
    idle = [worksong, *(other for other in others if place.name in PEERS)]
    pairs = Measuring(worksong, others, subjects, quick=plan.quick).carry_out(plan.rounds, idle)
    return Field(name=place.name, subjects=subjects, pairs=pairs)
