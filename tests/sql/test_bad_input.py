"""What goes wrong with a database, or is given to it: errors of ours that name the next step, and nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import servers
from patience import auntil
from sql.stage import fresh, make_tables, opened, ordered, told
from worksong.adapters.sql import mysql_failures
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.failures import Verdict
from worksong.domain.errors import (
    BackendFull,
    BackendRefused,
    BackendUnavailable,
    ConfigError,
    InvalidArguments,
    WorksongError,
)
from worksong.domain.job import new_id
from worksong.domain.lifecycle import State
from worksong.testing.contract.steps import a_job, fetch, join, lend, lent_ids, push, settle, some_jobs

SERVERS = ["postgres", "mariadb"]


@pytest.fixture(scope="module", params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of our own, with tables, on a server."""
    with fresh(request.getfixturevalue(f"{request.param}_url")) as found:
        asyncio.run(make_tables(found))
        yield found


@pytest.fixture
async def server(server_url: str) -> AsyncIterator[SqlBackend]:
    """A backend there, with a namespace of its own."""
    backend = opened(server_url)
    yield backend
    await backend.erase()
    await backend.close()


def is_postgres(url: str) -> bool:
    return url.startswith("postgres")


async def works(backend: SqlBackend) -> None:
    """No connection came back in the middle of something: more at once than there are connections."""
    await asyncio.gather(*(push(backend, a_job()) for _ in range(12)))
    pool = await join(backend)
    assert len(await lent_ids(backend, pool, 1000)) >= 12
    await backend.leave(pool, time.time())


# where it is, and who may


@pytest.mark.parametrize(
    ("part", "wrong", "error", "says"),
    [
        (r"127\.0\.0\.1", "no-such-host.invalid", BackendUnavailable, "cannot be reached"),
        (r":\d+/", ":1/", BackendUnavailable, "cannot be reached"),
        ("fresh_", "nothing_", ConfigError, "create the database, or correct its name in the URL"),
        (r"//\w+@", "//nobody:x@", ConfigError, "check the user and the password in the URL"),
    ],
    ids=["host", "port", "database", "user"],
)
async def test_a_url_that_leads_nowhere_says_which_part(
    server_url: str, part: str, wrong: str, error: type[Exception], says: str
) -> None:
    backend = opened(re.sub(part, wrong, server_url))
    with pytest.raises(error, match=says):
        await push(backend, a_job())
    await backend.close()


@pytest.fixture
async def somebody(server_url: str) -> AsyncIterator[tuple[str, Callable[[str], Any]]]:
    """The URL of a user with a password and no rights; and a way to give some."""
    name, admin = f"u{new_id()[:10]}", opened(server_url)
    database = server_url.rpartition("/")[2]
    if is_postgres(server_url):
        user, everything = name, "ALL TABLES IN SCHEMA public"
        await told(admin, f"CREATE ROLE {name} LOGIN PASSWORD 'right'")
    else:
        user, everything = f"{name}@'%'", f"{database}.*"
        await told(admin, f"CREATE USER {user} IDENTIFIED BY 'right'")

    async def give(what: str) -> None:
        if what == "the database" and not is_postgres(server_url):
            await told(admin, f"GRANT SELECT ON {database}.worksong_history TO {user}")
        elif what != "the database":
            await told(admin, f"GRANT {what} ON {everything} TO {user}")

    scheme, _, rest = server_url.partition("://")
    yield f"{scheme}://{name}:right@{rest.partition('@')[2]}", give
    drops = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"] if is_postgres(server_url) else [f"DROP USER {user}"]
    await told(admin, *drops)


async def test_a_wrong_password_is_refused_and_not_told(
    somebody: tuple[str, Callable[[str], Any]], request: pytest.FixtureRequest
) -> None:
    url, give = somebody
    await give("SELECT, INSERT, UPDATE, DELETE")
    if is_postgres(url):
        await _ask_for_passwords(request.getfixturevalue("postgres_server"), url)
    backend = opened(url.replace(":right@", ":hunter2@"))
    with pytest.raises(
        ConfigError, match=r"refused the login: .*check the user and the password in the URL"
    ) as failure:
        await push(backend, a_job())
    assert "hunter2" not in str(failure.value)
    await backend.close()
    right = opened(url)
    assert await push(right, a_job()) == [True]
    await right.erase()
    await right.close()


async def _ask_for_passwords(server: servers.Database, url: str) -> None:
    """Of this user only; the server reads it when it is told to, and some time later."""
    name = url.partition("://")[2].partition(":")[0]
    rules = server.directory / "data" / "pg_hba.conf"

    def change() -> None:
        rules.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")

    await asyncio.to_thread(change)
    admin = opened(server.url)
    await told(admin, "SELECT pg_reload_conf()")
    await auntil(
        lambda: told(admin, "SELECT user_name::text FROM pg_hba_file_rules"), met=lambda rules: name in str(rules)
    )
    await auntil(partial(_is_refused, url.replace(":right@", ":hunter2@")), "the refusal of a wrong password")


async def _is_refused(url: str) -> bool:
    backend = opened(url)
    try:
        await backend.counts()
    except ConfigError:
        return True
    finally:
        await backend.close()
    return False


@pytest.mark.parametrize("lacking", ["everything", "INSERT", "DELETE"])
async def test_a_user_who_may_not_is_told_what_to_grant(
    somebody: tuple[str, Callable[[str], Any]], server: SqlBackend, lacking: str
) -> None:
    # Given a user who lacks some right
    url, give = somebody
    await give("the database")
    if lacking != "everything":
        await give(", ".join(verb for verb in ("SELECT", "INSERT", "UPDATE", "DELETE") if verb != lacking))
    backend = opened(url, server._namespace)
    # When a job is pushed, run and ended
    with pytest.raises(ConfigError, match=r"denied.*GRANT this user what it lacks: SELECT, INSERT, UPDATE and DELETE"):
        _, delivery = await lend(backend)
        await settle(backend, delivery)
    # Then what was done before is done, and nothing else
    assert sum((await server.counts()).values()) == (lacking == "DELETE")
    # And once he may, he can; MySQL looks again when somebody connects
    await give("SELECT, INSERT, UPDATE, DELETE")
    await backend.close()
    assert await push(backend, a_job()) == [True]
    await backend.close()


async def test_a_user_who_may_make_no_tables_is_told_what_to_grant(somebody: tuple[str, Callable[[str], Any]]) -> None:
    url, give = somebody
    await give("SELECT")
    admin_like = opened(url)
    await _forget_the_version(admin_like, url)
    with pytest.raises(WorksongError, match=r"refused the migration: .*to migrate, CREATE"):
        await admin_like.migrate()
    await admin_like.close()


async def _forget_the_version(backend: SqlBackend, url: str) -> None:
    """As if there was a step to make."""
    store: Any = backend._store

    async def none(_connection: object) -> int:
        return 0

    store._version = none


# values


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": "a\0b"}, "all printable"),
        ({"id": "\ud800"}, "all printable"),
        ({"id": "x" * 501}, "at most 500 bytes"),
        ({"handler": "a\0b"}, "a"),
        ({"queue": "\ud800"}, "a"),
        ({"queue": "q" * 300}, "q"),
        ({"run_at": math.inf}, "run_at is a time"),
        ({"run_at": math.nan}, "run_at is a time"),
        ({"enqueued_at": -math.inf}, "enqueued_at is a time"),
        ({"failed_at": 1e300}, "failed_at is a time"),
        ({"attempt": 1 << 31}, "an attempt is a number"),
        ({"attempt": 0}, "an attempt is a number"),
    ],
)
async def test_what_no_column_holds_is_refused_before_anything_is_written(
    backend: SqlBackend, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidArguments, match=says):
        await push(backend, a_job(), a_job(**fields))
    assert sum((await backend.counts()).values()) == 0


async def test_arguments_and_errors_take_every_character(backend: SqlBackend) -> None:
    from worksong.domain.outcome import Buried

    text = "nul \0, surrogate \ud800, emoji \U0001f6a2"
    pool, delivery = await lend(backend, a_job(args={"text": text.replace("\ud800", "")}))
    assert await settle(backend, delivery, Buried(text))
    view = await backend.job(delivery.job.id)
    assert view is not None
    assert (view.job.error, view.job.args) == (text, {"text": text.replace("\ud800", "")})
    await backend.leave(pool, time.time())


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 100_000])
async def test_questions_with_impossible_names_break_nothing(backend: SqlBackend, name: str) -> None:
    """A name that no column holds is not there, or is refused: whichever, the connection is as good as before."""
    for question in (backend.job, backend.trace, backend.result, backend.pause, backend.resume, backend.purge):
        try:
            await question(name)
        except WorksongError as refusal:
            assert not isinstance(refusal, BackendUnavailable), refusal
    try:
        await backend.cancel(name, time.time())
    except WorksongError as refusal:
        assert not isinstance(refusal, BackendUnavailable), refusal
    await backend.resume("default")
    assert await push(backend, a_job()) == [True]
    assert (await backend.counts())[State.QUEUED] == 1


async def test_a_limit_that_no_column_holds_is_refused(backend: SqlBackend) -> None:
    with pytest.raises((BackendRefused, InvalidArguments)):
        await join(backend, limits={"send": 1 << 70})
    assert await push(backend, a_job()) == [True]


# queries that somebody cancels


async def test_a_query_that_an_operator_cancels_is_tried_again(server: SqlBackend) -> None:
    # Given a push that waits for a lock that somebody holds
    async with held_table(server) as (operator, release):
        pushing = asyncio.create_task(push(server, *some_jobs(3)))
        # When an operator cancels it, twice
        for _ in range(2):
            await operator_cancels(server, operator)
        # Then it is tried again, and carried out once the lock is free
        await release()
        assert await pushing == [True] * 3
    assert (await server.counts())[State.QUEUED] == 3
    await works(server)


async def test_an_ending_that_nobody_waits_for_any_more_is_carried_out_or_not(server: SqlBackend) -> None:
    # Given an ending that waits for a lock, and whoever ordered it is cancelled
    pool, delivery = await lend(server)
    async with held_table(server) as (operator, release):
        settling = asyncio.create_task(settle(server, delivery))
        await waiting_queries(server, operator)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        await release()
    # When it is ordered again
    await settle(server, delivery)
    # Then the job has ended, once, and no connection is in the middle of something
    assert sum((await server.counts()).values()) == 0
    await server.leave(pool, time.time())
    await works(server)


async def test_fetches_whose_caller_is_cancelled_lend_nothing_that_is_lost(server: SqlBackend) -> None:
    # Given a fetch that waits for a lock, and is cancelled
    await push(server, *some_jobs(5))
    pool = await join(server)
    async with held_table(server) as (operator, release):
        fetching = asyncio.create_task(fetch(server, pool, 5))
        await waiting_queries(server, operator)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await release()
    # When its pool leaves
    await server.close()
    await server.leave(pool, time.time())
    # Then all jobs wait
    assert (await server.counts())[State.QUEUED] == 5
    await works(server)


@contextlib.asynccontextmanager
async def held_table(backend: SqlBackend) -> AsyncIterator[tuple[Any, Callable[[], Awaitable[None]]]]:
    """Somebody locks the table of jobs: (a connection of somebody else, how to let go)."""
    store: Any = backend._store
    holder, operator = await store.dial(), await store.dial()
    for sql in _LOCK[store.dialect]:
        await store.plain(holder, sql)

    async def release() -> None:
        await store.plain(holder, _UNLOCK[store.dialect])

    try:
        yield operator, release
    finally:
        store.hang_up(holder)
        store.hang_up(operator)


_LOCK = {
    "postgres": ["BEGIN", "LOCK TABLE worksong_job IN ACCESS EXCLUSIVE MODE"],
    "mysql": ["LOCK TABLES worksong_job WRITE"],
}
_UNLOCK = {"postgres": "COMMIT", "mysql": "UNLOCK TABLES"}
_WAITING = {
    "postgres": "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND backend_type = 'client backend'",
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for table%'",
}


async def waiting_queries(backend: SqlBackend, operator: Any) -> list[int]:
    """The sessions that wait for the lock, as soon as there is one."""
    store: Any = backend._store
    return list(await auntil(lambda: store.plain(operator, _WAITING[store.dialect]), "somebody who waits for the lock"))


async def operator_cancels(backend: SqlBackend, operator: Any) -> None:
    """The query that waits, and not the session; maybe the same one again, when it has not noticed yet."""
    store: Any = backend._store
    (waiting,) = await waiting_queries(backend, operator)
    await store.plain(operator, _CANCEL[store.dialect].format(waiting))


_CANCEL = {"postgres": "SELECT pg_cancel_backend({})", "mysql": "KILL QUERY {}"}


# a full disk


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of 4 MiB that the accounts of servers may enter."""
    place = Path(tempfile.mkdtemp(prefix="worksong-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", str(place)]
    try:
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a small disk can only be mounted by root")
        place.chmod(0o777)
        yield place
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    finally:
        place.rmdir()


@pytest.fixture
def cramped(postgres_url: str, disk: Path) -> Iterator[str]:
    """A database whose jobs are on the small disk."""
    inside, name = disk / "data", disk.name.replace("-", "_")
    inside.mkdir()
    shutil.chown(inside, "postgres")
    with fresh(postgres_url) as found:
        asyncio.run(make_tables(found))
        asyncio.run(ordered(found, f"CREATE TABLESPACE {name} LOCATION '{inside}'"))
        asyncio.run(ordered(found, f"ALTER TABLE worksong_job SET TABLESPACE {name}"))
        yield found
    asyncio.run(ordered(postgres_url, f"DROP TABLESPACE {name}"))


async def test_a_full_disk_of_a_server_refuses_what_does_not_fit_and_keeps_what_was_taken(
    cramped: str, disk: Path
) -> None:
    # Given a server on a small disk
    backend = opened(cramped)
    taken = 0
    # When more is pushed than it holds
    with pytest.raises(BackendFull, match=r"nothing was carried out; make room on the server's disk"):
        for _ in range(200):
            await push(backend, a_job(args={"text": os.urandom(50_000).hex()}))
            taken += 1
    # Then what was taken in is there, and no connection is in the middle of something
    assert taken
    assert (await backend.counts())[State.QUEUED] == taken
    # And once there is room, it goes on
    room = ["mount", "-o", "remount,size=64m", str(disk)]
    await asyncio.to_thread(subprocess.run, room, check=True)
    assert await push(backend, a_job(args={"text": os.urandom(50_000).hex()})) == [True]
    assert len(await lent_ids(backend, await join(backend), 1000)) == taken + 1
    await backend.close()


@pytest.mark.parametrize("code", [1021, 1114])
def test_a_full_disk_of_mysql_names_the_same_step(code: int) -> None:
    """Not made full for real: a MariaDB whose disk is full ends."""
    failure = Exception(code, "The table is full")
    assert mysql_failures.meaning(failure) is Verdict.FULL
    assert "make room on the server's disk" in mysql_failures.mend(failure)
