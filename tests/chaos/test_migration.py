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
from sql.stage import make_tables, the_next_version
from worksong import Job
from worksong.adapters import connect
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State

ROWS = 1_000_000 if FULL else 1000
"""Jobs of a far future that lie in the tables meanwhile."""
RATE = 1000.0 if FULL else 100.0
LONGEST = 1.0
"""Seconds that an enqueueing may wait for the migration."""

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
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    # Given workers at work, on tables in which much lies
    await _fill(theatre)
    await fleet.start(2)
    producer, over = Watched(theatre.url, fleet.directory), asyncio.Event()
    producing = asyncio.create_task(producer.produce(lambda: Job("work", {"ms": 1.0}), RATE, over.is_set))
    await fleet.until(lambda ledger: len(ledger.ids("F")) > RATE / 2)

    # When somebody migrates to a version that they do not know
    producer.longest, begun = 0.0, time.monotonic()
    with the_next_version():  # in this process only
        before, now = await make_tables(theatre.url)
    took = time.monotonic() - begun
    assert now == before + 1
    since = time.monotonic()
    await fleet.until(lambda ledger: sum(line.at > since for line in ledger.of("F")) > RATE / 2)
    over.set()
    await producing

    # Then each of their jobs runs once, and nothing went wrong
    with the_next_version():
        await quiet(theatre, 120, kept=State.SCHEDULED)
    verdict = judge(fleet.ledger, fleet.ledger.evictions())
    assert verdict.right, f"{verdict}\n{fleet.report()}"
    assert verdict.finished == verdict.acked
    wrong = [line for member in fleet.members for line in member.said.splitlines() if " ERROR " in line]
    assert wrong == []

    # And one of this version that starts now works with them too
    await fleet.start()
    assert all(member.alive for member in fleet.members)
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


async def _fill(theatre: Theatre) -> None:
    backend, far = connect(theatre.url, namespace=NAMESPACE), time.time() + 1e8
    for start in range(0, ROWS, 10_000):
        count = min(10_000, ROWS - start)
        await backend.push([Job("work", id=new_id(), enqueued_at=far, run_at=far) for _ in range(count)], time.time())
    await backend.close()
