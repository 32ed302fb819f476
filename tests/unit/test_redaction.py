"""Arguments that a job type hides."""

from __future__ import annotations

import pytest

from worksong import Context, Worker
from worksong.adapters import connect
from worksong.domain.job import Job
from worksong.domain.turns import Share
from worksong.ports.backend import Beat, Pool, Running, Want


@pytest.mark.parametrize("scheme", ["memory", "redis"])
async def test_a_busy_worker_is_listed_without_the_values_that_are_hidden(
    scheme: str, request: pytest.FixtureRequest
) -> None:
    # Given a pool that runs a job with a hidden argument
    url = "memory://" if scheme == "memory" else request.getfixturevalue("redis_url")
    backend = connect(url, namespace="redaction")
    pool = Pool(id="pool", handlers=("charge",), worker_ids=("worker",))
    await backend.enlist(pool, 1.0)
    await backend.push([Job("charge", {"order": 7, "card": "4111"}, id="a")], 1.0)
    (delivery,) = await backend.fetch(Want("pool", 1, 0.0, (Share("charge", 1),)), 1.0)
    # When it beats, and somebody looks
    running = Running(delivery, 0, 1.0, hidden=("card",))
    await backend.beat(Beat(pool, (running,), (delivery,)), 2.0)
    (busy,) = await backend.busy()
    await backend.close()
    # Then the argument is named, and no more
    assert busy.args == '{"card":"***","order":7}'


async def test_what_a_job_type_hides_goes_with_each_of_its_runs() -> None:
    seen: list[tuple[str, ...]] = []
    worker = Worker()

    @worker.job(redact="card")
    async def charge(ctx: Context, card: str) -> None:
        seen.append(ctx._running.hidden)

    await charge.aperform(card="4111")
    await worker.astart(burst=True)
    assert worker._shift.engine
    await worker._shift.engine.finished.wait()
    await worker.astop()

    assert seen == [("card",)]
