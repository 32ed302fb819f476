"""What other programs put into Faktory's queues: dead or failed with a reason, kept as it was, and the neighbours run.

Jobs of unknown types stand in `test_lending`; refused passwords, versions of the protocol that are too old, and servers
that listen and say nothing in `test_connection`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from corpus import CORPUS
from faktory.conftest import MakesWorkers
from faktory.real import Real
from faktory.standin import Standin
from gotool import BUILT
from patience import auntil
from worksong.adapters.faktory import FaktoryBackend
from worksong.testing.contract.steps import a_job, fetch, join, push

pytestmark = pytest.mark.timeout(BUILT + 400)  # the first one waits for the server to be built
Server = Standin | Real


@pytest.mark.parametrize("args", [["seven"], [7, 8], [], [None], [{"m": 7}]], ids=str)
async def test_positional_arguments_that_do_not_fit_make_a_dead_job_that_keeps_them(
    server: Server, new_worker: MakesWorkers, args: list[object]
) -> None:
    # Given a job of Ruby whose arguments the handler does not take, and one that it takes
    worker, ran = new_worker(), list[int]()

    @worker.job(max_fails=1)
    def count(n: int) -> None:
        ran.append(n)

    for jid, given in (("unfit-job", args), ("fitting-job", [1])):
        job = {"jid": jid, "jobtype": "count", "args": given, "queue": "default", "retry": 25}
        server.do(lambda job=job: server.store.push(job))
    # When a worker of ours runs
    async with worker:
        await auntil(lambda: server.store.sets["dead"] and ran, "both")
        await auntil(lambda: not server.store.working, "both endings")
    # Then the one is dead with its arguments and the reason, and the other one ran
    ((_, dead),) = server.store.sets["dead"]
    assert (dead["jid"], dead["args"]) == ("unfit-job", args)
    assert dead["failure"]["errtype"] == "InvalidArguments"
    assert "count(" in dead["failure"]["message"]
    assert ran == [1]


async def test_the_poison_corpus_costs_no_neighbour_anything(backend: FaktoryBackend, server: Server) -> None:
    # Given every document of the corpus that the server takes for a job, and a good one behind them
    planted = dict[str, Any]()
    for number, (_, raw, _) in enumerate(CORPUS):
        job = _as_a_job(raw, f"poison-{number}")
        if job and _taken(server, job):
            planted[job["jid"]] = job.get("args")
    good = a_job("a")
    await push(backend, good)
    # When a pool takes all there is
    pool, lent = await join(backend, "a"), list[str]()

    async def enough() -> bool:
        lent.extend(delivery.job.id for delivery in await fetch(backend, pool, 100))
        return good.id in lent

    await auntil(enough, lambda _: f"the good one; lent {len(lent)} of {len(planted) + 1}")
    await auntil(lambda: len(lent) + len(_failed(server)) == len(planted) + 1, "the others' failures")
    # Then each of the others is lent, or failed with a reason and its arguments
    assert len(planted) > 20
    assert sorted([*lent, *_failed(server)]) == sorted([*planted, good.id])
    for jid, job in _failed(server).items():
        assert job["failure"]["message"], jid
        assert job["args"] == planted[jid]


def _as_a_job(raw: bytes, jid: str) -> dict[str, Any] | None:
    """The document's members as those of a job in Faktory's words."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    rest = {name: value for name, value in document.items() if name not in ("name", "id", "args", "t")}
    args = document.get("args")
    given = args if isinstance(args, list) else [args]
    return {**rest, "jid": jid, "jobtype": document.get("name", "a"), "args": given, "queue": "default", "retry": 25}


def _taken(server: Server, job: dict[str, Any]) -> bool:
    try:
        server.do(lambda: server.store.push(job))
    except Exception as refused:
        print(f"{job['jid']} is refused: {refused}")
        return False
    return True


def _failed(server: Server) -> dict[str, dict[str, Any]]:
    return {job["jid"]: job for name in ("dead", "retries") for _, job in server.store.sets[name]}
