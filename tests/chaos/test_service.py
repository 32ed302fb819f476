"""G2, G3, G5, G6: jobs of the job service, records and messages in one place or two, through crashes and races."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from chaos.certificates import Certify
from chaos.mortal import Life, MortalBackend, MortalRecords
from chaos.scale import FULL, sized, timeout
from worksong import Retry, Worker
from worksong.adapters import connect, connect_records
from worksong.domain.job import new_id
from worksong.domain.pipeline import step_id
from worksong.domain.record import MOVES, JobRecord, KeyRecord, PipelineRecord, Status, queued
from worksong.engine.engine import Engine
from worksong.ledger import Ledger
from worksong.perloop import PerLoop
from worksong.ports.backend import Backend
from worksong.ports.records import Change, Kind, Record, RecordStore, Ref
from worksong.service.outbox import MISSING_FOR, Outbox
from worksong.testing import FakeClock
from worksong.testing.drain import adrain

STEPS = 3
MOST_OPERATIONS = 400
"""Of one process: far more than it takes."""
STRIDE = 1 if FULL else 2
"""Of how many operations one is tried where stores are slow."""
STRIDE_IN_ONE_PLACE = 1 if FULL else 4
UNEVEN = sized(200, 40)
"""Rows without a message, and messages without a row."""
CALLERS = 50
RACES = sized(2000, 120)

pytestmark = pytest.mark.timeout(timeout(600))


class Place(NamedTuple):
    """A queue and a store of records, empty."""

    name: str
    queue: Backend
    records: RecordStore
    apart: bool = True
    """Whether they are changed one after the other, as what is in two places has to be."""


APART = [("memory", "memory"), ("sqlite", "redis"), ("redis", "sqlite")]
TOGETHER = [(one, one) for one in ["sqlite", "redis", *(["postgres", "mariadb"] if FULL else [])]]


@pytest.fixture(autouse=True)
def servers_first(request: pytest.FixtureRequest) -> None:
    """Their tables are made in a loop of its own, which cannot run within that of a test."""
    for name in ("postgres_url", "mariadb_url") if FULL else ():
        request.getfixturevalue(name)


@pytest.fixture(params=APART, ids="-".join)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Queue and records, each in a place of its own."""
    async with opened(request, tmp_path, apart=True) as found:
        yield found


@pytest.fixture(params=[("memory", "memory"), *TOGETHER], ids="-".join)
async def one_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Both in one place."""
    async with opened(request, tmp_path, apart=False) as found:
        yield found


@pytest.fixture(params=[*APART, *(TOGETHER if FULL else [])], ids="-".join)
async def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Either of them."""
    async with opened(request, tmp_path, apart=request.param in APART) as found:
        yield found


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, tmp_path: Path, *, apart: bool) -> AsyncIterator[Place]:
    here = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/service.db?synchronous=NORMAL"}
    urls = [here.get(one) or request.getfixturevalue(f"{one}_url") for one in request.param]
    queue, records = (f"`{url.partition(':')[0].partition('+')[0]}://`" for url in urls)
    namespace, name = new_id(), f"{queue}, records in {records}" if apart else f"{queue}, records in the same place"
    found = Place(
        name, connect(urls[0], namespace=namespace), connect_records(urls[1], namespace=namespace), apart=apart
    )
    yield found
    await found.queue.close()
    await found.records.close()


class Process:
    """One that creates jobs and runs them; it may die."""

    def __init__(self, place: Place, clock: FakeClock, runs: list[str], life: Life | None = None) -> None:
        self.place, self.life, self.runs = place, life or Life(), runs
        self.worker = Worker(clock=clock, concurrency=1)
        backend: Any = MortalBackend(place.queue, self.life, apart=place.apart)
        records: Any = MortalRecords(place.records, self.life)
        self.worker.backend = self.worker.broker = lambda: backend  # type: ignore[method-assign]
        self.ledger = Ledger(records, clock)
        self.worker._stores.ledgers = PerLoop(self.ledger)
        self.pools: list[str] = []
        self.worker.on_pool = self.pools.append
        self.outbox = Outbox(self.worker)

        @self.worker.task("count")
        async def count(params: dict[str, str], previous: int = 0) -> int:
            self.runs.append(params["id"])
            await self.life.do(lambda: asyncio.sleep(0))
            return previous + 1

    async def live(self, job: JobRecord, pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> None:
        """Create both, and run what there is to run; ends with its life."""
        engine = self.worker.new_engine(scheduler=False)
        work = asyncio.create_task(self._work(engine, job, pipeline, jobs))
        death = asyncio.create_task(self.life.dead.wait())
        await asyncio.wait([work, death], return_when=asyncio.FIRST_COMPLETED)
        if not self.life.dead.is_set():
            death.cancel()
            await work
            await engine.stop(0.0)
            return
        self.life.bury()
        work.cancel()
        await asyncio.wait([work])
        if self.pools:
            await _killed(engine)
        await self.outbox.close()

    async def _work(self, engine: Engine, job: JobRecord, pipeline: PipelineRecord, jobs: Sequence[JobRecord]) -> None:
        await self.outbox.post_jobs([job])
        await self.outbox.post_pipeline(pipeline, jobs)
        await self.outbox.flush()
        await engine.start(burst=True)
        await engine.finished.wait()


async def _killed(engine: Engine) -> None:
    """Nothing of it reaches the stores: it only lets go of what this test must not keep."""
    lane = engine._lane
    lane.quiet()
    lane.release_running()
    await lane.idle()
    lane.settler.drop()
    await engine.stop(0.0)


def a_job(job_id: str) -> JobRecord:
    return JobRecord(id=job_id, task="count", params={"id": job_id})


def a_pipeline() -> tuple[PipelineRecord, list[JobRecord]]:
    name = new_id()
    ids = [step_id(name, number, 0) for number in range(STEPS)]
    jobs = [replace(a_job(ids[n]), pipeline_id=name, next_id=[*ids, ""][n + 1], previous=n > 0) for n in range(STEPS)]
    return PipelineRecord(id=name, job_ids=tuple(ids)), jobs


async def completed(ledger: Ledger) -> set[str]:
    return {job.id async for job in ledger.all_jobs(Status.COMPLETED)}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_g2_whatever_operation_a_process_dies_of_nothing_is_stuck_and_nothing_runs_again(
    place: Place, chance: random.Random, certify: Certify, *, after: bool
) -> None:
    await die_of_each_operation(place, chance, certify, after=after)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_g2_where_both_are_in_one_place_nothing_is_missing_in_the_queue_at_any_time(
    one_place: Place, chance: random.Random, certify: Certify, *, after: bool
) -> None:
    await die_of_each_operation(one_place, chance, certify, after=after)


async def die_of_each_operation(place: Place, chance: random.Random, certify: Certify, *, after: bool) -> None:
    trials = again = 0
    stride = 1 if "memory" in place.name else STRIDE if place.apart else STRIDE_IN_ONE_PLACE
    for dies_at in range(1 + chance.randrange(stride), MOST_OPERATIONS, stride):
        # Given a process that creates a job and a pipeline and runs them, and dies of one operation or another
        clock, runs, job = FakeClock(), list[str](), a_job(new_id())
        pipeline, jobs = a_pipeline()
        first = Process(place, clock, runs, Life(dies_at, after=after))
        await first.live(job, pipeline, jobs)
        if not first.life.dead.is_set():
            break
        trials += 1

        # When another one comes, and finds that the first one is dead
        heir = Process(place, clock, runs)
        before, through = Counter(runs), await completed(heir.ledger)
        clock.advance(MISSING_FOR)
        await place.queue.reap(clock.now(), clock.monotonic(), dead=first.pools)
        swept = await heir.outbox.sweep()
        assert place.apart or not swept
        await adrain(heir.worker)

        # Then all that was created is through, in order, and only what was under way has run twice
        created = {one.id for one in (job, pipeline) if await place.records.read([ref(one)]) != [None]}
        expected = {job.id} & created | ({one.id for one in jobs} if pipeline.id in created else set())
        where = f"{place.name}, {'after' if after else 'before'} operation {dies_at}"
        assert expected <= await completed(heir.ledger), where
        if pipeline.id in created:
            assert (await heir.ledger.pipeline(pipeline.id) or pipeline).status is Status.COMPLETED, where
            result = await heir.ledger.kept_result(jobs[-1].id)
            assert result is not None
            assert result.value == b"%d" % STEPS, where
        assert all(runs.count(one) == before[one] for one in through), where
        assert set(runs) == expected, where
        assert len(runs) <= len(expected) + 1, where
        again += len(runs) - len(expected)
        # And nothing is left anywhere
        assert sum((await place.queue.counts()).values()) == 0, where
        assert await place.records.unsent(clock.now(), 9) == [], where
        await heir.outbox.close()
    assert trials > 2 * STEPS
    certify("G2", backend=place.name, trials=trials, again=again, stuck=0, double_next_step=0)


def ref(document: JobRecord | PipelineRecord) -> Ref:
    return Ref(Kind.JOB if isinstance(document, JobRecord) else Kind.PIPELINE, document.id)


async def test_g3_rows_without_a_message_run_once_and_messages_without_a_row_never(
    any_place: Place, certify: Certify
) -> None:
    # Given rows nobody sent, rows that were sent though nobody noted it, and messages of rows that are gone
    clock, runs = FakeClock(), list[str]()
    process = Process(any_place, clock, runs)
    rows, sent = ([a_job(new_id()) for _ in range(UNEVEN)] for _ in range(2))
    for row in (*rows, *sent):
        await process.ledger.open_job(row)
    await any_place.queue.push([queued(row) for row in sent], clock.now(), once=True)
    strays = [queued(a_job(new_id())) for _ in range(UNEVEN)]
    await any_place.queue.push(strays, clock.now(), once=True)

    # When two look after them, and they run
    clock.advance(MISSING_FOR)
    swept = await asyncio.gather(process.outbox.sweep(), Process(any_place, clock, runs).outbox.sweep())
    await adrain(process.worker)

    # Then each row has run once, and no message without one
    assert sum(swept) == 2 * UNEVEN
    assert Counter(runs) == Counter(row.id for row in (*rows, *sent))
    assert len(await completed(process.ledger)) == 2 * UNEVEN
    assert sum((await any_place.queue.counts()).values()) == 0
    certify("G3", backend=any_place.name, rows=UNEVEN, messages=UNEVEN, twice=0)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres", "mariadb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/keys.db?synchronous=NORMAL"}
    return urls.get(request.param) or request.getfixturevalue(f"{request.param}_url")


async def test_g5_of_many_callers_with_one_key_one_creates(store_url: str, certify: Certify) -> None:
    # Given many callers with the same key, in several processes
    origin = connect_records(store_url, namespace=new_id())
    ledgers = [Ledger(origin.sibling(), FakeClock()) for _ in range(5)]

    async def ask(number: int) -> KeyRecord | None:
        job = a_job(f"j{number}")
        key = KeyRecord(id="key", request="the same", created_id=job.id)
        return await ledgers[number % len(ledgers)].open_job(job, key)

    # When all of them ask at once, and each again, as if the answer had been lost
    answers = await asyncio.gather(*map(ask, range(CALLERS)))
    answers += await asyncio.gather(*map(ask, range(CALLERS, 2 * CALLERS)))

    # Then one of them has created something, and the others are told what
    created = [number for number, used in enumerate(answers) if used is None]
    assert len(created) == 1
    assert {used.created_id for used in answers if used} == {f"j{created[0]}"}
    assert [job.id for job in await ledgers[0].jobs()] == [f"j{created[0]}"]
    for ledger in ledgers:
        await ledger.close()
    certify("G5", backend=f"`{store_url.partition(':')[0]}://`, keys", callers=CALLERS, created=1)


class Chronicle:
    """A store that remembers which statuses each job has had."""

    def __init__(self, inner: RecordStore) -> None:
        self._inner = inner
        self._statuses: defaultdict[str, dict[int, Status | None]] = defaultdict(dict)
        """By version; None: it was deleted."""
        self._open: set[str] = set()
        self._ended = asyncio.Event()

    async def all_ended(self) -> None:
        """Wait until each job has ended or is gone. The queue cannot tell: it counts one place after the other."""
        while self._open:
            self._ended.clear()
            await self._ended.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sibling(self) -> Chronicle:
        return self

    async def close(self) -> None:
        """It is another one's."""

    async def write(self, changes: Sequence[Change]) -> bool:
        wrote = await self._inner.write(changes)
        for ref, was, record in changes if wrote else ():
            if ref.kind is Kind.JOB:
                self._note(ref.id, (was or 0) + 1, _status(record))
        return wrote

    def _note(self, job_id: str, version: int, status: Status | None) -> None:
        self._statuses[job_id][version] = status
        last = self.history(job_id)[-1]
        if last and not last.ended:
            self._open.add(job_id)
        else:
            self._open.discard(job_id)
            self._ended.set()

    def history(self, job_id: str) -> list[Status | None]:
        """In the order in which they were written, whichever answer came first."""
        return [status for _, status in sorted(self._statuses[job_id].items())]


def _status(record: Record | None) -> Status | None:
    return Status(record.status) if record else None


def allowed(history: Sequence[Status | None]) -> bool:
    """Whether it is a path: from pending, by the moves there are, or marked only; nothing comes after a deletion."""
    return history[0] is Status.PENDING and all(
        before is not None and (now is None or now is before or now in MOVES[before])
        for before, now in pairwise(history)
    )


async def test_g6_whatever_races_with_the_end_of_a_job_its_history_is_a_path_of_the_states(
    any_place: Place, chance: random.Random, certify: Certify
) -> None:
    # Given a worker at work, and jobs that succeed, try again, or fail for good
    worker, chronicle = Worker(concurrency=8), Chronicle(any_place.records)
    backend: Any = any_place.queue
    worker.backend = worker.broker = lambda: backend  # type: ignore[method-assign]
    records: Any = chronicle
    ledger = Ledger(records, worker.clock)
    worker._stores.ledgers = PerLoop(ledger)
    outbox = Outbox(worker)

    @worker.task("any", max_fails=2, backoff=lambda _: 0.0)
    async def any_(params: dict[str, int]) -> Retry | None:
        for _ in range(params["turns"]):
            await asyncio.sleep(0)
        if params["kind"] == 1:
            raise ValueError("no")
        return Retry(0.0) if params["kind"] == 2 else None

    async def race(number: int) -> str:
        job = JobRecord(
            id=f"job-{number}",
            task="any",
            params={"turns": chance.randrange(20), "kind": chance.randrange(3)},
            created_at=worker.clock.now(),
        )
        acts = [chance.choice(("cancel", "remove", "retry")) for _ in range(chance.randrange(4))]
        pauses = [chance.choice((0, 0, 1, 5, 20)) for _ in acts]
        await ledger.open_job(job)
        await outbox.send_job(job)
        for act, turns in zip(acts, pauses, strict=True):
            for _ in range(turns):
                await asyncio.sleep(0)
            match act:
                case "cancel":
                    await worker.admin.acancel(job.id)
                case "remove":
                    await ledger.remove_job(job.id)
                case _:
                    await worker.admin.aretry_dead(job.id)
        return job.id

    # When others cancel, delete and retry them at any moment
    async with worker:
        ids = [one for start in range(0, RACES, 20) for one in await _together(race, start, min(RACES, start + 20))]
        async with asyncio.timeout(300):
            await chronicle.all_ended()
    await outbox.close()

    # Then the history of each, at whose end it has ended or is gone, is a path of the states
    wrong = {one: history for one in ids if not allowed(history := chronicle.history(one))}
    assert wrong == {}
    certify("G6", backend=any_place.name, races=RACES, wrong=0)


async def _together(race: Any, start: int, end: int) -> list[str]:
    return list(await asyncio.gather(*map(race, range(start, end))))
