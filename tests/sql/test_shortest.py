"""Pushes and fetches the shortest way: one statement where that is enough, and nothing told that is not so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from sql.stage import fresh, opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.mysql_text import MysqlText
from worksong.adapters.sql.passage import Passage, Way
from worksong.adapters.sql.places import NEVER_BACK, Numbers
from worksong.adapters.sql.steps import Program, Row, Statement, Step
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Released
from worksong.testing.contract.steps import T, a_job, fetch, join, push, settle, some_jobs

# in


async def test_many_at_once_are_there_as_they_would_be_one_by_one(backend: SqlBackend) -> None:
    # Given jobs with something in every column
    jobs = [
        a_job(args={"text": "ü\0'\\%s\n", "n": 2**53 - 1}, enqueued_at=T + 0.1 + 0.2, meta={"trace": "%(x)s"}),
        a_job(args=["?", 1.5], queue="low", enqueued_at=int(T), attempt=3, error="it \ud800 broke", failed_at=T - 1e-5),
        a_job(run_at=T + 60),
    ]
    # When they are pushed together, and the same ones apart
    again = [replace(job, id=f"{job.id}-again") for job in jobs]
    assert await push(backend, *jobs) == [True] * 3
    for job in again:
        assert await push(backend, job) == [True]
    # Then each pair is the same but for the id
    for job, other in zip(jobs, again, strict=True):
        one, two = await backend.job(job.id), await backend.job(other.id)
        assert one is not None
        assert two is not None
        assert (one.state, one.at, replace(one.job, id=other.id)) == (two.state, two.at, two.job)
        assert (one.job.args, one.job.error, one.job.meta) == (job.args, job.error, job.meta)
        assert (one.job.enqueued_at, one.job.failed_at) == (job.enqueued_at, job.failed_at)


async def test_a_job_that_is_there_is_refused_by_itself_as_among_many(backend: SqlBackend) -> None:
    first, second = some_jobs(2)
    locked = a_job(unique="until_done")
    assert await push(backend, first) == [True]
    assert await push(backend, locked) == [True]
    assert await push(backend, first) == [False]
    assert await push(backend, a_job(args=locked.args, unique="until_done")) == [False]
    assert await push(backend, first, second) == [False, True]
    assert (await backend.counts())[State.QUEUED] == 3


# out


async def test_a_fence_is_above_that_of_a_lender_whose_clock_was_ahead(backend: SqlBackend) -> None:
    # Given a job that was lent by a process whose clock is a day ahead, and given back
    await push(backend, a_job())
    ahead = backend.sibling()
    ahead._broker._fences = Numbers(NEVER_BACK)
    (early,) = await fetch(ahead, await join(ahead), now=T + 86400)
    assert await settle(ahead, early, Released())
    # When this process lends it, and another job after it
    pool = await join(backend)
    backend._broker._fences = Numbers(NEVER_BACK)
    (late,) = await fetch(backend, pool)
    await push(backend, a_job())
    (other,) = await fetch(backend, pool)
    # Then the fences grow
    assert early.fence < late.fence < other.fence
    assert await settle(backend, late)
    assert await settle(backend, other)
    await ahead.close()


async def test_types_with_a_limit_are_lent_beside_others_again_and_again(backend: SqlBackend) -> None:
    # Given one type with a limit of one, and one without
    await push(backend, *some_jobs(3, "limited"), *some_jobs(3, "free"))
    pool = await join(backend, "limited", "free", limits={"limited": 1})
    # When jobs are fetched and end, until there are no more
    handlers: list[list[str]] = []
    while found := await fetch(backend, pool, 2):
        handlers.append(sorted(delivery.job.handler for delivery in found))
        for delivery in found:
            assert await settle(backend, delivery)
    # Then the limit was kept each time, and nobody starved
    assert handlers == [["free", "limited"]] * 3


async def test_jobs_that_another_worker_holds_for_a_moment_are_passed_over(postgres_url: str) -> None:
    # Given jobs all of whose rows somebody has locked, but for the last one
    backend = opened(postgres_url)
    await push(backend, *some_jobs(3))
    store: Any = backend._store
    pool = await join(backend)
    async with store._connection() as other:
        await other.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
        space = backend._namespace
        held = f"SELECT seq FROM worksong_job WHERE space = '{space}' ORDER BY place LIMIT 2 FOR UPDATE"
        await other.execute(held)
        # When jobs are fetched
        # Then the last one is lent, and after it none
        assert [delivery.job.args for delivery in await fetch(backend, pool, 5)] == [{"n": 2}]
        assert await fetch(backend, pool, 5) == []
        await other.execute("ROLLBACK")
    assert len(await fetch(backend, pool, 5)) == 2
    await backend.close()


# plans


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    with fresh(postgres_url) as found:
        yield found


async def test_plans_made_while_the_tables_were_empty_reach_jobs_by_number_or_line(empty: str) -> None:
    """A plan is kept: one that looks as cheap while there is nothing must not read all jobs of a state later."""
    # Given tables with nothing in them
    backend = opened(empty)
    await backend.migrate()
    store: Any = backend._store
    # When the server says how it would carry out what is asked for all the time
    for name in ("take", "take_near", "fronts", "next_queue", "pick", "lend", "finish", "held", "drop", "move"):
        text = store._texts[name]
        marks = len(text.params) + len(text.columns)
        async with store._connection() as connection:
            await connection.execute(f"PREPARE {name} AS {text.sql}")
            nothing = ", ".join(["NULL"] * marks)
            plan = [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE {name}({nothing})")]
        # Then every way to a job begins with its number, or with the type it waits in
        ways = [line.strip() for line in plan if "Index Cond" in line]
        assert all("(seq = " in way or "handler = " in way or "space = $" in way for way in ways), (name, plan)
        assert not any("state = 'running'" in way or "Cond: (state" in way for way in ways), (name, plan)
    await backend.close()


# one message


class Server:
    """Notes what it is sent; with `joins` a transaction begins and ends within messages."""

    def __init__(self, *, joins: bool) -> None:
        self.joins, self.said = joins, list[str]()

    def opening(self, *, write: bool) -> str:
        return "BEGIN" if self.joins else ""

    async def begin(self, connection: None, *, write: bool, lasting: bool = True) -> None:
        self.said.append("BEGIN")

    async def commit(self, connection: None) -> None:
        self.said.append("COMMIT")

    async def execute(self, connection: None, step: Step, before: str = "", after: str = "") -> int:
        self.said.append(" ".join(filter(None, (before, step.name, after))))
        if step.name == "broken":
            raise ConnectionError
        return 0


async def carried_out(server: Server, *steps: Step, alone: bool = False) -> Passage[None]:
    passage = Passage[None](server, None, Way(write=True, lasting=True, alone=alone))
    await passage.begin()
    for step in steps:
        await passage.execute(step)
    await passage.end()
    return passage


FIRST, MIDDLE, LAST = Step("first", {}), Step("middle", {}), Step("last", {}, None, True)


@pytest.mark.parametrize(
    ("joins", "steps", "said"),
    [
        (True, [FIRST, MIDDLE, LAST], ["BEGIN first", "middle", "last COMMIT"]),
        (True, [FIRST, MIDDLE], ["BEGIN first", "middle", "COMMIT"]),
        (True, [LAST], ["BEGIN last COMMIT"]),
        (True, [], []),
        (False, [FIRST, LAST], ["BEGIN", "first", "last", "COMMIT"]),
    ],
)
async def test_a_transaction_begins_with_its_first_statement_and_ends_with_its_last(
    joins: bool, steps: Sequence[Step], said: list[str]
) -> None:
    server = Server(joins=joins)
    await carried_out(server, *steps)
    assert server.said == said


async def test_a_statement_alone_is_a_transaction() -> None:
    server = Server(joins=True)
    await carried_out(server, LAST, alone=True)
    assert server.said == ["last"]


@pytest.mark.parametrize(
    ("steps", "begun", "committing"),
    [
        ([Step("broken", {})], False, False),
        ([Step("broken", {}, None, True)], True, True),
        ([FIRST, Step("broken", {})], True, False),
        ([FIRST, Step("broken", {}, None, True)], True, True),
    ],
)
async def test_what_broke_with_the_commit_in_it_may_be_committed(
    steps: Sequence[Step], *, begun: bool, committing: bool
) -> None:
    passage = Passage[None](Server(joins=True), None, Way(write=True, lasting=True, alone=False))
    await passage.begin()
    with pytest.raises(ConnectionError):
        for step in steps:
            await passage.execute(step)
    assert (passage.begun, passage.committing) == (begun, committing)


def test_what_needs_no_escaping_stands_in_the_text_and_all_else_is_given_to_the_driver() -> None:
    text = MysqlText(Statement("s", "INSERT INTO t VALUES {values}", ("space",), ("a", "b", "c"), False))
    rows: list[Row] = [(1, 0.1, "x'"), (-2, float("nan"), None), (True, b"\0'%", "%s"), ("", "ü", "a1")]
    sql, values = text.given(Step("s", {"space": "here"}, rows))
    assert sql == (
        "INSERT INTO t VALUES ('here', 1, 1.0000000000000001e-01, %s), ('here', -2, %s, NULL), "
        "('here', %s, x'002725', %s), ('here', %s, %s, 'a1')"
    )
    assert [values[0], *values[2:]] == ["x'", True, "%s", "", "ü"]
    assert float("1.0000000000000001e-01") == 0.1


def test_lists_name_a_value_once_and_begin_with_the_first() -> None:
    text = MysqlText(Statement("s", "{first_a} {all_a} {all_b}", (), ("a", "b"), False))
    assert text.given(Step("s", {}, [(7, "p"), (8, "p"), (7, "q")])).sql == "7 7, 8 'p', 'q'"


def test_only_bytes_that_would_be_cut_off_are_widened() -> None:
    # Given columns of numbers, texts and bytes, of which any may lack
    text = MysqlText(Statement("s", "{given}", (), ("n", "t", "b"), False))
    # When the bytes are short, then nothing is widened; when those of any row are long, they alone are
    assert "BINARY" not in text.given(Step("s", {}, [(None, None, None), (7, "ü" * 70_000, b"x")])).sql
    sql = text.given(Step("s", {}, [(None, "t", None), (7, None, b"x" * 70_000)])).sql
    assert sql.startswith("(SELECT NULL AS n, 't' AS t, COALESCE(CAST(NULL AS BINARY(16777215)), NULL) AS b UNION ALL ")


# moved jobs that come back


async def test_jobs_that_stay_come_back_though_a_lock_was_taken_at_that_moment(
    backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a unique job put aside, and an equal one that comes after the look for it
    job = a_job(unique="until_done")
    await push(backend, job)
    load = await backend.load(State.QUEUED, passed=0, most=5, destination="there", now=T)
    assert load is not None
    assert await push(backend, a_job(args=job.args, unique="until_done")) == [True]
    cargo = backend._cargo
    looked, looks = cargo._give_back, list[int]()

    def give_back(rows: Sequence[Row]) -> Program[None]:
        looks.append(len(rows))
        if len(looks) > 1:
            yield from looked(rows)
        else:  # as if nothing had been found
            moves = [(light[0], light[2]) for light in rows]
            yield from cargo._space.do("rehouse", moves, to=cargo._space.namespace)

    monkeypatch.setattr(cargo, "_give_back", give_back)
    # When it is given back
    await backend.release(load.id, [job.id], T)
    # Then both wait, one of them without the lock
    assert looks == [1, 1]
    assert (await backend.counts())[State.QUEUED] == 2
