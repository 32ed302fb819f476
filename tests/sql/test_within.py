"""Jobs enqueued on the application's own connection: there when it commits, and never otherwise."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import pytest

from patience import PATIENCE
from worksong import InvalidArguments, Unsupported, Worker
from worksong.adapters import connect
from worksong.domain.errors import BackendUnavailable, ConfigError
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.ports.backend import Window
from worksong.testing import inline


def mailer(url: str, name: str) -> tuple[Worker, Any]:
    """A worker, and a job type of it."""
    worker = Worker(url, name=name)

    @worker.job()
    def send(number: int) -> int:
        return number

    return worker, send


async def waiting(url: str, name: str) -> list[Any]:
    """The arguments of all jobs that everybody sees."""
    backend = connect(url, namespace=name)
    found = await backend.jobs(State.QUEUED, Window(limit=100))
    await backend.close()
    return [cast("Any", view.job.args) for view in found.jobs]


# sqlite3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
async def sqlite_url(file: Path) -> str:
    """A file with our tables and one of the application."""
    url = f"sqlite:///{file}"
    assert await waiting(url, "shop") == []
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE sale (number INTEGER)")
    return url


@pytest.fixture
def connection(sqlite_url: str, file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


async def test_a_commit_brings_the_job_and_what_it_is_about(sqlite_url: str, connection: sqlite3.Connection) -> None:
    _, send = mailer(sqlite_url, "shop")

    with connection:
        connection.execute("INSERT INTO sale VALUES (7)")
        handle = send.with_options(connection=connection).perform(7)
        assert await waiting(sqlite_url, "shop") == []

    assert await waiting(sqlite_url, "shop") == [{"number": 7}]
    assert handle.job.args == {"number": 7}
    assert connection.row_factory is sqlite3.Row


async def test_a_rollback_leaves_nothing(sqlite_url: str, connection: sqlite3.Connection) -> None:
    _, send = mailer(sqlite_url, "shop")

    send.with_options(connection=connection).perform(7)
    await send.with_options(connection=connection).aperform_in(60, 8)
    connection.rollback()

    assert await waiting(sqlite_url, "shop") == []


async def test_a_refused_job_leaves_the_transaction_as_it_was(sqlite_url: str, connection: sqlite3.Connection) -> None:
    # Given an id that was enqueued before, and a table that refuses every job
    _, send = mailer(sqlite_url, "shop")
    once = send.with_options(connection=connection, id="sale-7")
    assert once.perform(7) is not None
    connection.commit()
    connection.execute("INSERT INTO sale VALUES (7)")
    assert once.perform(7) is None
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON worksong_job BEGIN SELECT RAISE(FAIL, 'no'); END")

    # When a job is refused within a transaction
    with pytest.raises(Exception, match="refused: no"):
        send.with_options(connection=connection, id="sale-8").perform(8)

    # Then what else was done there can be committed, and the id is still free
    connection.execute("DROP TRIGGER full")
    assert send.with_options(connection=connection, id="sale-8").perform(8) is not None
    connection.commit()
    assert connection.execute("SELECT count(*) FROM sale").fetchone()[0] == 1
    assert await waiting(sqlite_url, "shop") == [{"number": 7}, {"number": 8}]


async def test_a_connection_that_would_commit_by_itself_needs_a_transaction(sqlite_url: str, file: Path) -> None:
    _, send = mailer(sqlite_url, "shop")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        with pytest.raises(InvalidArguments, match="BEGIN first"):
            send.with_options(connection=connection).perform(7)
        connection.execute("BEGIN")
        send.with_options(connection=connection).perform(8)
        connection.execute("COMMIT")

    assert await waiting(sqlite_url, "shop") == [{"number": 8}]


def test_a_connection_to_another_file_is_refused(sqlite_url: str) -> None:
    _, send = mailer(sqlite_url, "shop")
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(InvalidArguments, match="a database in memory"),
    ):
        send.with_options(connection=connection).perform(7)


def test_a_file_without_tables_says_what_to_do(tmp_path: Path) -> None:
    _, send = mailer(f"sqlite:///{tmp_path}/new.db", "shop")
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as connection,
        pytest.raises(ConfigError, match="worksong migrate"),
    ):
        send.with_options(connection=connection).perform(7)


def test_a_file_that_another_program_holds_is_away(sqlite_url: str, file: Path) -> None:
    _, send = mailer(sqlite_url, "shop")
    with (
        contextlib.closing(sqlite3.connect(file, timeout=0.01)) as connection,
        contextlib.closing(sqlite3.connect(file)) as holder,
    ):
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailable, match="locked by another program"):
            send.with_options(connection=connection).perform(7)


def test_inline_jobs_run_at_once_whatever_the_connection(sqlite_url: str, connection: sqlite3.Connection) -> None:
    worker, send = mailer(sqlite_url, "shop")
    with inline(worker) as ran:
        assert send.with_options(connection=connection).perform(7).result(timeout=0) == 7
    assert len(ran) == 1


# asyncpg


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Any]:
    connection = await cast("Any", asyncpg).connect(postgres_url)
    yield connection
    await connection.close()


async def test_postgres_takes_the_job_in_with_the_commit(postgres_url: str, postgres: Any) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)

    async with postgres.transaction():
        handle = await send.with_options(connection=postgres).aperform(7)
        assert await waiting(postgres_url, name) == []

    assert await waiting(postgres_url, name) == [{"number": 7}]
    assert handle.job.args == {"number": 7}


async def test_postgres_keeps_nothing_after_a_rollback(postgres_url: str, postgres: Any) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)

    with contextlib.suppress(ZeroDivisionError):
        async with postgres.transaction():
            await send.with_options(connection=postgres).aperform(7)
            raise ZeroDivisionError

    assert await waiting(postgres_url, name) == []


async def test_a_refusal_of_postgres_leaves_the_transaction_usable(postgres_url: str, postgres: Any) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)

    async with postgres.transaction():
        once = send.with_options(connection=postgres, id="sale-7")
        assert await once.aperform(7) is not None
        assert await once.aperform(7) is None
        await postgres.execute("SET LOCAL search_path = nowhere")
        with pytest.raises(ConfigError, match="worksong_job"):
            await send.with_options(connection=postgres).aperform(8)

    assert await waiting(postgres_url, name) == [{"number": 7}]


async def test_a_worker_that_waits_hears_of_the_commit(postgres_url: str, postgres: Any) -> None:
    # Given a worker that runs and has nothing to do
    worker, send = mailer(postgres_url, new_id())
    async with worker:
        # When a job comes with a commit elsewhere
        async with postgres.transaction():
            handle = await send.with_options(connection=postgres).aperform(7)
        # Then it is run
        assert await handle.aresult(PATIENCE) == 7


async def test_without_a_transaction_postgres_refuses(postgres_url: str, postgres: Any) -> None:
    _, send = mailer(postgres_url, new_id())
    with pytest.raises(InvalidArguments, match="no transaction open"):
        await send.with_options(connection=postgres).aperform(7)


async def test_a_connection_for_async_code_refuses_the_blocking_verb(postgres_url: str, postgres: Any) -> None:
    name = new_id()
    _, send = mailer(postgres_url, name)
    async with postgres.transaction():
        with pytest.raises(InvalidArguments, match="await aperform"):
            send.with_options(connection=postgres).perform(7)
    assert await waiting(postgres_url, name) == []


# what cannot be


@pytest.mark.parametrize("url", ["memory://", "redis://localhost/0"])
def test_other_backends_say_what_to_use_instead(url: str) -> None:
    _, send = mailer(url, "shop")
    with pytest.raises(Unsupported, match=r"sqlite:///"):
        send.with_options(connection=object())


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_connection_of_a_wrong_kind_is_refused(scheme: str) -> None:
    _, send = mailer(f"{scheme}://nobody@127.0.0.1:1/nothing", "shop")
    with pytest.raises(Unsupported, match=r"builtins\.object"):
        send.with_options(connection=object())
