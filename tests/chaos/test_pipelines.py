"""G1: pipelines under kills: each goes to its end, in order, and no step runs again once another one follows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Ledger, judge
from chaos.scale import sized, timeout
from chaos.theatre import EVERYWHERE, Theatre, backend, on, quiet
from worksong.domain import pipeline
from worksong.domain.capability import Capability
from worksong.domain.job import new_id
from worksong.domain.pipeline import Step

PIPELINES = sized(500, 30)
STAGES = 10
SIDE_BY_SIDE = 3
"""Steps of the stage in the middle, where results tell when all of them are through."""
KILLS = sized(12, 3)

pytestmark = pytest.mark.timeout(timeout(300))


def _stages(*, groups: bool) -> list[list[Step]]:
    step = Step("count", {"ms": 5.0}, previous=True)
    stages = [[replace(step, previous=number > 0)] for number in range(STAGES)]
    return [*stages[:5], [step] * SIDE_BY_SIDE, *stages[6:]] if groups else stages


@on(*EVERYWHERE, small=("sqlite", "redis"))
async def test_g1_pipelines_reach_their_ends_in_order_though_workers_are_killed(
    theatre: Theatre, fleet: Fleet, certify: Certify
) -> None:
    # Given pipelines, and workers at work on them
    async with backend(theatre) as store:
        stages = _stages(groups=Capability.RESULTS in store.capabilities)
        ids = [new_id() for _ in range(PIPELINES)]
        jobs = [job for one in ids for job in pipeline.first(one, "count", stages)]
        await store.push([replace(job, enqueued_at=time.time()) for job in jobs], time.time(), once=True)
    await fleet.start(4)

    # When one worker after the other is killed, and started again at once
    await fleet.kill_in_turn(KILLS, every=1.0)

    # Then all of them come to their ends, and only what was under way ran twice
    took = await quiet(theatre, 120)
    await fleet.stop_all()
    ledger = fleet.ledger
    steps = [
        [[pipeline.step_id(one, n, m) for m in range(len(stage))] for n, stage in enumerate(stages)] for one in ids
    ]
    finished = ledger.ids("F")
    stuck = [
        one for one, its in zip(ids, steps, strict=True) if not {job for stage in its for job in stage} <= finished
    ]
    assert not stuck, f"{len(stuck)} of {PIPELINES} pipelines did not come to their ends\n{fleet.report()}"
    verdict = judge(ledger, [*fleet.strokes, *ledger.evictions()])
    assert len(verdict.duplicates) <= verdict.budget, str(verdict)
    # And each step with the value of the one before, and none again behind whose back another one had begun
    values = {line.subject: line.attempt for line in ledger.of("V")}
    wrong = [job for its in steps for number, stage in enumerate(its) for job in stage if values[job] != number + 1]
    assert not wrong
    again = _begun_behind(ledger, steps)
    assert again == []
    certify(
        "G1",
        pipelines=PIPELINES,
        steps=sum(map(len, stages)),
        kills=KILLS,
        stuck=len(stuck),
        steps_run_again=len(verdict.duplicates),
        budget=verdict.budget,
        finished_steps_run_again=len(again),
        wrong_values=len(wrong),
        quiet_after=took,
    )


def _begun_behind(ledger: Ledger, steps: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Steps that began when one of the stage behind theirs had begun already."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for line in ledger.of("S"):
        first.setdefault(line.subject, line.at)
        last[line.subject] = line.at
    return [
        job
        for its in steps
        for stage, behind in pairwise(its)
        for job in stage
        if last[job] > min(first[other] for other in behind)
    ]
