"""What handlers write on the connection of their job: there once if the job succeeded, and else not at all."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from engine_bench import on, until
from patience import PATIENCE
from sql.notes import Notes
from sql.stage import opened
from worksong import Context, Discard, JobFailed, NotStarted, Retry, Snooze, Unsupported, Worker
from worksong.adapters.sql.backend import SqlBackend
from worksong.domain import retry
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.testing import inline
from worksong.testing.drain import adrain
from worksong.testing.flaky import FlakyBackend, error, execute_then_error

AT_ONCE = retry.fixed(0)


@pytest.fixture
async def notes(url: str, backend: SqlBackend) -> Notes:
    await backend.counts()  # on SQLite this makes the file
    return await Notes(url).make()


@pytest.fixture
async def worker(url: str, notes: Notes) -> AsyncIterator[Worker]:
    worker = Worker(url, name=new_id(), concurrency=4)
    yield worker
    await worker.astop()


@pytest.fixture
def plain_only_on_sqlite(url: str) -> None:
    if not url.startswith("sqlite"):
        pytest.skip("no driver for plain functions on this database")


async def run_all(worker: Worker) -> Counter[str]:
    """Run everything, retries that are due in a moment included; how the runs ended."""
    ended: Counter[str] = Counter()
    async with asyncio.timeout(PATIENCE):
        while True:
            ended.update(msgspec.structs.asdict(await adrain(worker)))
            counts = await worker.backend().counts()
            if not counts[State.QUEUED] + counts[State.RUNNING] + counts[State.RETRY]:
                return +ended


# the way it is meant


async def test_each_job_that_succeeds_has_its_effect_once(worker: Worker, notes: Notes) -> None:
    # Given jobs of which every third fails the first time, after it has written
    @worker.job(backoff=AT_ONCE)
    async def pay(ctx: Context, number: int) -> int:
        connection = await ctx.aconnection()
        await notes.write(connection, number)
        assert await ctx.aconnection() is connection
        if number % 3 == 0 and ctx.job.attempt == 1:
            raise ValueError("not yet")
        await notes.write(connection, number)
        return number

    # When they run, more of them than there are slots
    handles = await worker.aperform_many([pay.job(number) for number in range(12)])
    ended = await run_all(worker)

    # Then all they wrote is there once, and so are their results
    assert ended == {"done": 12, "retried": 4}
    assert await notes.found() == {str(number): 2 for number in range(12)}
    assert [await handle.aresult(0) for handle in handles if handle] == list(range(12))


@pytest.mark.parametrize(
    ("verdict", "state"),
    [(Retry(60), State.RETRY), (Snooze(60), State.SCHEDULED), (Discard("no"), None), (ValueError("no"), State.DEAD)],
    ids=["retry", "snooze", "discard", "failure"],
)
async def test_every_other_ending_leaves_no_effect(
    worker: Worker, notes: Notes, verdict: Exception, state: State | None
) -> None:
    @worker.job(max_fails=2 if state is State.RETRY else 1)
    async def pay(ctx: Context) -> object:
        await notes.write(await ctx.aconnection(), 1)
        if isinstance(verdict, ValueError):
            raise verdict
        return verdict

    handle = await pay.aperform()
    await adrain(worker)

    view = await worker.backend().job(handle.id)
    assert (view and view.state) == state
    assert not await notes.found()


async def test_plain_functions_have_it_too(worker: Worker, notes: Notes, plain_only_on_sqlite: None) -> None:
    @worker.job(backoff=AT_ONCE)
    def pay(ctx: Context, number: int) -> int:
        connection = ctx.connection()
        connection.execute("INSERT INTO note VALUES (?, ?)", (notes.page, number))
        with pytest.raises(ZeroDivisionError), connection:
            connection.execute("INSERT INTO note VALUES (?, 'undone')", (notes.page,))
            raise ZeroDivisionError
        if ctx.job.attempt == 1:
            raise ValueError("not yet")
        return number

    @worker.job(isolate="thread")
    async def apart(ctx: Context) -> None:
        await notes.write(await ctx.aconnection(), "apart")

    await worker.aperform_many([*(pay.job(number) for number in range(6)), apart.job()])
    assert (await run_all(worker))["done"] == 7
    assert await notes.found() == {**{str(number): 1 for number in range(6)}, "apart": 1}


@pytest.mark.parametrize("url", ["sqlite", "postgres", "mariadb"], indirect=True)
async def test_what_it_enqueues_there_comes_with_the_same_commit(worker: Worker, notes: Notes) -> None:
    # Given a handler that enqueues what follows on its own connection, and fails the first time
    @worker.job()
    async def receipt(number: int) -> int:
        return number

    @worker.job(backoff=AT_ONCE)
    async def pay(ctx: Context) -> None:
        await receipt.with_options(connection=await ctx.aconnection()).aperform(ctx.job.attempt)
        if ctx.job.attempt == 1:
            raise ValueError("not yet")

    # Then only what its second run enqueued is run
    await pay.aperform()
    assert await run_all(worker) == {"done": 2, "retried": 1}


async def test_a_worker_that_stops_hands_the_job_back_without_its_effect(url: str, notes: Notes) -> None:
    # Given a handler that has written and waits
    name, written = new_id(), asyncio.Event()
    worker = Worker(url, name=name)

    @worker.job()
    async def pay(ctx: Context) -> None:
        await notes.write(await ctx.aconnection(), 1)
        written.set()
        await asyncio.Event().wait()

    handle = await pay.aperform()
    await worker.astart()
    async with asyncio.timeout(PATIENCE):
        await written.wait()

    # When its worker stops
    await worker.astop(grace=0.0)

    # Then the job waits again, and nothing is left of it
    backend = opened(url, name)
    view = await backend.job(handle.id)
    await backend.close()
    assert (view and view.state, await notes.found()) == (State.QUEUED, {})


# answers that are lost


@pytest.mark.parametrize("fault", [error, execute_then_error], ids=["not committed", "answer lost"])
async def test_a_commit_without_an_answer_is_never_applied_twice(
    url: str, notes: Notes, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    # Given a server that does not answer the first commit, carried out or not
    flaky = FlakyBackend(opened(url), {"settle": [fault]})
    worker = on(flaky, monkeypatch)
    runs = 0

    @worker.job(backoff=AT_ONCE)
    async def pay(ctx: Context) -> None:
        nonlocal runs
        runs += 1
        await notes.write(await ctx.aconnection(), 1)

    # When the job has come to its end
    handle = await pay.aperform()
    await run_all(worker)

    # Then it ran again if nothing was committed, and its effect is there once
    assert runs == (2 if fault is error else 1)
    assert await notes.found() == {"1": 1}
    assert await worker.backend().job(handle.id) is None
    await worker.astop()


async def test_a_connection_that_breaks_takes_the_effect_along(url: str, worker: Worker, notes: Notes) -> None:
    """The handler has returned, and nothing of it can be committed: the job has failed, and runs again."""
    if url.startswith("sqlite"):
        pytest.skip("there is no server to lose")

    @worker.job(backoff=AT_ONCE)
    async def pay(ctx: Context) -> None:
        connection = await ctx.aconnection()
        await notes.write(connection, ctx.job.attempt)
        if ctx.job.attempt == 1:
            (connection.terminate if hasattr(connection, "terminate") else connection.close)()

    await pay.aperform()
    assert await run_all(worker) == {"done": 1, "retried": 1}
    assert await notes.found() == {"2": 1}


# handlers that do what they should not


async def test_a_handler_that_ends_the_transaction_itself_has_failed(url: str, worker: Worker, notes: Notes) -> None:
    @worker.job(max_fails=1)
    async def pay(ctx: Context) -> None:
        connection = await ctx.aconnection()
        if hasattr(connection, "fetchrow") or isinstance(connection, sqlite3.Connection):
            connection = connection.execute("COMMIT")
            await connection
        else:
            async with connection.cursor() as cursor:
                await cursor.execute("COMMIT")

    handle = await pay.aperform()
    await adrain(worker)

    why = "cannot commit for a handler alone" if url.startswith("sqlite") else "over before its handler was"
    with pytest.raises(JobFailed, match=why):
        await handle.aresult(0)


@pytest.mark.parametrize("url", ["sqlite", "mariadb"], indirect=True)
async def test_a_commit_by_the_driver_is_refused(worker: Worker, notes: Notes) -> None:
    @worker.job(max_fails=1)
    async def pay(ctx: Context) -> None:
        connection = await ctx.aconnection()
        await notes.write(connection)
        committing = connection.commit()
        await committing

    handle = await pay.aperform()
    await adrain(worker)

    with pytest.raises(JobFailed, match="cannot commit for a handler alone; return from the handler"):
        await handle.aresult(0)
    assert not await notes.found()


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_an_error_that_was_caught_still_fails_the_job(worker: Worker, notes: Notes) -> None:
    @worker.job(max_fails=1)
    async def pay(ctx: Context) -> None:
        connection = await ctx.aconnection()
        await notes.write(connection)
        with pytest.raises(Exception, match="nowhere"):
            await connection.execute("SELECT * FROM nowhere")

    handle = await pay.aperform()
    await adrain(worker)

    with pytest.raises(JobFailed, match="transaction is aborted"):
        await handle.aresult(0)
    assert not await notes.found()


async def test_a_context_that_outlives_its_job_gets_no_connection(worker: Worker, notes: Notes) -> None:
    late: list[asyncio.Task[Any]] = []
    over = asyncio.Event()

    @worker.job()
    async def pay(ctx: Context) -> None:
        async def later() -> None:
            await over.wait()
            await ctx.aconnection()

        late.append(asyncio.create_task(later()))

    await pay.aperform()
    await adrain(worker)
    over.set()
    with pytest.raises(NotStarted, match="does not run any more"):
        await late[0]


async def test_a_function_that_is_left_behind_writes_nothing_more(
    url: str, notes: Notes, plain_only_on_sqlite: None
) -> None:
    # Given a plain function that has written, and cannot be stopped
    worker = Worker(url, name=new_id())
    written, told, refused = threading.Event(), threading.Event(), threading.Event()

    @worker.job()
    def pay(ctx: Context) -> None:
        connection = ctx.connection()
        connection.execute("INSERT INTO note VALUES (?, 'early')", (notes.page,))
        written.set()
        told.wait(PATIENCE)
        try:
            connection.execute("INSERT INTO note VALUES (?, 'late')", (notes.page,))
        except Exception:
            refused.set()
            raise

    # When its worker stops without it
    await pay.aperform()
    await worker.astart()
    assert await asyncio.to_thread(written.wait, PATIENCE)
    await worker.astop(grace=0.0)

    # Then others can write, and it can no more
    await notes.ask(f"INSERT INTO note VALUES ('{notes.page}', 'other')")
    told.set()
    assert await asyncio.to_thread(refused.wait, PATIENCE)
    assert await notes.found() == {"other": 1}


# where there is none


async def test_a_plain_function_on_a_server_is_told_to_be_async(url: str, worker: Worker) -> None:
    if url.startswith("sqlite"):
        pytest.skip("plain functions may write there")

    @worker.job(max_fails=1)
    def pay(ctx: Context) -> None:
        ctx.connection()

    handle = await pay.aperform()
    await adrain(worker)
    with pytest.raises(JobFailed, match="make the handler async def"):
        await handle.aresult(0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_coroutine_is_told_to_wait_for_it(worker: Worker) -> None:
    @worker.job(max_fails=1)
    async def pay(ctx: Context) -> None:
        ctx.connection()

    handle = await pay.aperform()
    await adrain(worker)
    with pytest.raises(JobFailed, match=r"await ctx\.aconnection\(\)"):
        await handle.aresult(0)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_inline_run_has_no_connection(url: str) -> None:
    worker = Worker(url)

    @worker.job()
    async def pay(ctx: Context) -> None:
        await ctx.aconnection()

    with inline(worker), pytest.raises(Unsupported, match=r"testing\.drain"):
        pay.perform()


async def test_memory_says_what_to_use_instead() -> None:
    worker = Worker()

    @worker.job(max_fails=1)
    async def pay(ctx: Context) -> None:
        await ctx.aconnection()

    handle = await pay.aperform()
    await adrain(worker)
    with pytest.raises(JobFailed, match=r"postgresql://"):
        await handle.aresult(0)
    await worker.astop()


# connections


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_a_connection_comes_back_clean(worker: Worker, notes: Notes) -> None:
    # Given jobs that leave settings, locks and temporary tables behind, one after the other
    seen: list[tuple[Any, ...]] = []

    @worker.job()
    async def pay(ctx: Context) -> None:
        connection = await ctx.aconnection()
        seen.append(
            await connection.fetchrow(
                "SELECT pg_backend_pid(), current_setting('lock_timeout'), current_setting('enable_seqscan'),"
                " (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')"
            )
        )
        await connection.execute("SET lock_timeout = '7s'; SELECT pg_advisory_lock(7)")

    for _ in range(3):
        await pay.aperform()
        await worker.astart()
        async with asyncio.timeout(PATIENCE):
            await until(lambda expected=worker.stats.done + 1: worker.stats.done >= expected)

    # Then the same one serves all of them, as new
    assert len({row[0] for row in seen}) == 1
    assert {row[1:] for row in seen} == {("0", "on", 0)}


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_how_a_handler_has_values_read_is_its_own_affair(worker: Worker, notes: Notes) -> None:
    # Given a job that has numbers read as texts, and another one after it
    seen: list[Any] = []

    @worker.job()
    async def count(ctx: Context, recode: bool) -> None:
        connection = await ctx.aconnection()
        if recode:
            await connection.set_type_codec("int4", schema="pg_catalog", encoder=str, decoder=lambda text: f"<{text}>")
        seen.append(await connection.fetchval("SELECT 5"))

    for number, recode in enumerate((True, False), 1):
        await count.aperform(recode=recode)
        await worker.astart()
        async with asyncio.timeout(PATIENCE):
            await until(lambda expected=number: worker.stats.done >= expected)

    # Then the second one reads them as they are
    assert seen == ["<5>", 5]
