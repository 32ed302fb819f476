"""I3: the tables are migrated to the next version while workers of this one are at work: they go on."""

from __future__ import annotations

import asyncio
import time

import pytest

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import judge
from chaos.producer import Producer
from chaos.scale import FULL, timeout
from chaos.theatre import DATABASES, NAMESPACE, Theatre, on, quiet
from worksong import Job
from worksong.adapters import connect
from worksong.adapters.sql import migrate
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.migrate import Migration
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State

ROWS = 1_000_000 if FULL else 1000
"""Jobs of a far future that lie in the tables meanwhile."""
RATE = 1000.0 if FULL else 100.0
LONGEST = 1.0
"""Seconds that an enqueueing may wait for the migration."""
NEXT = (
    "ALTER TABLE worksong_job ADD COLUMN note_of_the_next_version TEXT",
    "ALTER TABLE worksong_pool ADD COLUMN note_of_the_next_version INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE worksong_of_the_next_version (space VARCHAR(100) NOT NULL PRIMARY KEY)",
)
"""What a migration may do while others work: columns with a default, and tables. All three databases take it."""

pytestmark = pytest.mark.timeout(timeout(600))


class Watched(Producer):
    """Notes how long each of its pushes took."""

    longest = 0.0

    async def push(self, jobs: list[Job]) -> list[str]:
        begun = time.monotonic()
        taken = await super().push(jobs)
        self.longest = max(self.longest, time.monotonic() - begun)
        return taken


@on(*DATABASES, small=("postgres",))  # tests/sql migrates all three under a worker
async def test_i3_workers_of_the_version_before_go_on_while_the_tables_are_migrated(
    theatre: Theatre, fleet: Fleet, certify: Certify, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given workers at work, on tables in which much lies
    await _fill(theatre)
    await fleet.start(2)
    producer, over = Watched(theatre.url, fleet.directory), asyncio.Event()
    producing = asyncio.create_task(producer.produce(lambda: Job("work", {"ms": 1.0}), RATE, over.is_set))
    await fleet.until(lambda ledger: len(ledger.ids("F")) > RATE / 2)

    # When somebody migrates to a version that they do not know
    producer.longest, begun = 0.0, time.monotonic()
    known = migrate.migrations
    monkeypatch.setattr(migrate, "migrations", lambda dialect: _with_next(known(dialect)))  # in this process only
    before, now = await _migrate(theatre)
    took = time.monotonic() - begun
    assert now == before + 1
    since = time.monotonic()
    await fleet.until(lambda ledger: sum(line.at > since for line in ledger.of("F")) > RATE / 2)
    over.set()
    await producing

    # Then each of their jobs runs once, and nothing went wrong
    await quiet(theatre, 120, kept=State.SCHEDULED)
    verdict = judge(fleet.ledger, fleet.ledger.evictions())
    assert verdict.right, f"{verdict}\n{fleet.report()}"
    assert verdict.finished == verdict.acked
    wrong = [line for member in fleet.members for line in member.said.splitlines() if " ERROR " in line]
    assert wrong == []

    # And one that starts now refuses, and says why
    new = await fleet.launch()
    assert await new.ended() == 1
    assert f"of version {now}, and this worksong knows versions up to {before}" in new.said
    assert all(member.alive for member in fleet.members if member is not new)
    await fleet.stop_all()
    await producer.close()
    certify(
        "I3",
        rows=ROWS,
        jobs_meanwhile=verdict.acked,
        errors=len(wrong),
        lost=0,
        duplicates=len(verdict.duplicates),
        migration_took=took,
        longest_enqueueing=producer.longest,
    )
    if FULL:
        assert producer.longest <= LONGEST


def _with_next(known: tuple[Migration, ...]) -> tuple[Migration, ...]:
    number = known[-1].number + 1
    return (*known, Migration(number, (*NEXT, migrate.NOTE.format(number=number))))


async def _migrate(theatre: Theatre) -> tuple[int, int]:
    backend = connect(theatre.url, namespace=NAMESPACE)
    assert isinstance(backend, SqlBackend)
    try:
        return await backend.migrate()
    finally:
        await backend.close()


async def _fill(theatre: Theatre) -> None:
    backend, far = connect(theatre.url, namespace=NAMESPACE), time.time() + 1e8
    for start in range(0, ROWS, 10_000):
        count = min(10_000, ROWS - start)
        await backend.push([Job("work", id=new_id(), enqueued_at=far, run_at=far) for _ in range(count)], time.time())
    await backend.close()
