"""C9: callers cancelled anywhere in a call: nobody gets another's answer, nothing is done by half or left over.

What a Redis client does with its connection is tried closer to the wire in `test_network_cancellation`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from chaos.cancelling import cancelled_at_random
from chaos.certificates import Certify
from chaos.scale import FULL, timeout
from chaos.theatre import Theatre, backend
from patience import auntil
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Backend, Window

TASKS = 1000 if FULL else 300

pytestmark = pytest.mark.timeout(timeout(200))


async def test_c9_a_cancelled_enqueueing_happened_once_or_not_at_all(
    theatre: Theatre, chance: random.Random, certify: Certify
) -> None:
    taken: set[str] = set()
    wrong: list[tuple[str, object]] = []

    async def enqueue(store: Backend, job: Job) -> None:
        """And look at what became of it: another call's answer would be about another job."""
        if await store.push([job], time.time(), once=bool(int(job.id, 16) % 2)):
            taken.add(job.id)
        view = await store.job(job.id)
        if view is None or (view.id, view.job.args) != (job.id, job.args):
            wrong.append((job.id, view))

    async with backend(theatre) as store:
        # Given many tasks that enqueue one job each, and ask for it
        jobs = [Job("a", {"n": n}, id=new_id(), enqueued_at=time.time()) for n in range(TASKS)]
        tasks = [asyncio.create_task(enqueue(store, job)) for job in jobs]

        # When half of them are cancelled wherever they are
        cancelled = await cancelled_at_random(tasks, chance)

        # Then nobody got a wrong answer
        assert wrong == []
        if FULL:
            assert cancelled > TASKS / 100
        # And whatever was taken in is there, and nothing is there twice
        there = Counter(view.id for view in await store.jobs(State.QUEUED, Window(limit=10 * TASKS)))
        assert taken <= set(there) <= {job.id for job in jobs}
        assert set(there.values()) == {1}
        # And no connection is left over
        most = await _few_connections(theatre)
    certify("C9", tasks=TASKS, cancelled=cancelled, wrong_answers=0, leaked_connections=0, connections=most)


async def _few_connections(theatre: Theatre) -> int:
    """A server notices later than we do that somebody hung up."""
    enough = theatre.connections_at_most
    return await auntil(
        theatre.connections, lambda found: f"{enough} connections, not {found}", met=lambda found: found <= enough
    )
