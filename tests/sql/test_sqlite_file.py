"""A file as the store: other processes on it, and everything that can be wrong with it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sql.stage import opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.filesystem import network_filesystem
from worksong.adapters.sql.migrate import newest
from worksong.domain.errors import BackendFull, BackendRefused, BackendUnavailable, ConfigError
from worksong.domain.lifecycle import State
from worksong.testing.contract.steps import T, a_job, fetch, join, lent_ids, push, some_jobs

DRAIN = """
import asyncio, sys
from worksong.adapters.sql.sqlite import sqlite_backend
from worksong.domain.outcome import Done, Settlement
from worksong.testing.contract.steps import T, fetch, join

async def main():
    backend = sqlite_backend(sys.argv[1], namespace="shared")
    pool = await join(backend)
    while found := await fetch(backend, pool, 7):
        assert all(await backend.settle([Settlement(delivery, Done()) for delivery in found], T))
        print(*(delivery.job.args["n"] for delivery in found), sep="\\n")
    await backend.close()

asyncio.run(main())
"""
PUSH = """
import asyncio, sys
from worksong.adapters.sql.sqlite import sqlite_backend
from worksong.testing.contract.steps import a_job, push

async def main():
    backend = sqlite_backend(sys.argv[1], namespace="shared")
    print(await push(backend, a_job(id="from-elsewhere")), flush=True)
    await backend.close()

asyncio.run(main())
"""
Program = subprocess.Popen[str]


NOBODY = """
import os
from worksong.adapters.sql.migrate import migrations
from worksong.adapters.sql.steps import statements
migrations("sqlite"), statements("sqlite")  # what is read from disk later may not be readable
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""
"""Put behind the imports of a program, it has no more rights than anybody."""


def program(source: str, url: str) -> Program:
    """Another process that uses the file."""
    command = [sys.executable, "-c", source, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def backend(place: Path) -> AsyncIterator[SqlBackend]:
    backend = opened(f"sqlite:///{place}?timeout=0.2", "shared")
    yield backend
    await backend.close()


# other processes


async def test_processes_that_drain_one_file_run_every_job_once(backend: SqlBackend, place: Path) -> None:
    await push(backend, *some_jobs(300))
    workers = [program(DRAIN, f"sqlite:///{place}") for _ in range(3)]
    told = [await asyncio.to_thread(worker.communicate) for worker in workers]
    assert [errors for _, errors in told] == [""] * 3
    assert sorted(int(number) for numbers, _ in told for number in numbers.split()) == list(range(300))


async def test_a_fetch_that_waits_hears_of_another_process(backend: SqlBackend, place: Path) -> None:
    pool = await join(backend)
    waiting = asyncio.create_task(fetch(backend, pool, wait=60.0))
    other = program(PUSH, f"sqlite:///{place}")
    assert [delivery.job.id for delivery in await waiting] == ["from-elsewhere"]
    await asyncio.to_thread(other.communicate)


async def test_a_file_that_others_keep_locked_is_unavailable_and_nothing_is_written(
    backend: SqlBackend, place: Path
) -> None:
    # Given a program that holds the file
    await push(backend, a_job())
    holder = sqlite3.connect(place, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    # When something is pushed
    with pytest.raises(BackendUnavailable, match=r"jobs\.db is locked by another program"):
        await push(backend, a_job())
    assert (await backend.counts())[State.QUEUED] == 1  # reading goes on
    # Then all is well once it lets go
    holder.close()
    assert await push(backend, a_job()) == [True]


# what can be wrong with the file


def test_a_file_that_may_not_be_written_says_so() -> None:
    # Given a file that nobody may write, and whose directory nobody may write
    with TemporaryDirectory() as directory:
        place = Path(directory, "jobs.db")
        asyncio.run(_make(place))
        place.chmod(0o444)
        place.parent.chmod(0o555)
        # When somebody pushes
        _, told = program(PUSH.replace("\nasync def", f"{NOBODY}\nasync def"), f"sqlite:///{place}").communicate()
    # Then it is refused, with the mend
    assert told.splitlines()[-1].startswith("worksong.")
    assert "must be writable for user" in told.splitlines()[-1] or "may not open it" in told.splitlines()[-1]


async def _make(place: Path) -> None:
    backend = opened(f"sqlite:///{place}")
    await push(backend, a_job())
    await backend.close()


async def test_a_full_disk_refuses_what_does_not_fit_and_keeps_what_was_taken(small_disk: Path) -> None:
    # Given a file on a small disk
    backend = opened(f"sqlite:///{small_disk}/jobs.db")
    # When more is pushed than it holds
    taken = 0
    with pytest.raises((BackendFull, BackendRefused), match=r"full|disk failed"):
        for _ in range(100):
            await push(backend, a_job(args={"text": "x" * 100_000}))
            taken += 1
    # Then what was taken in is there
    assert taken
    assert (await backend.counts())[State.QUEUED] == taken
    # And once there is room, the backend goes on
    room = ["mount", "-o", "remount,size=16m", str(small_disk)]
    await asyncio.to_thread(subprocess.run, room, check=True)
    assert len(await lent_ids(backend, await join(backend))) == taken
    await backend.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [("no/such/jobs.db", "there is no directory"), ("folder", "it is a directory"), ("text", "no SQLite database")],
)
async def test_a_path_that_is_no_database_is_a_mistake_in_the_configuration(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("This is no database, and long enough for that to be seen. " * 20)
    backend = opened(f"sqlite:///{tmp_path}/{name}")
    with pytest.raises(ConfigError, match=says):
        await push(backend, a_job())
    await backend.close()


async def test_tables_are_made_by_the_command_where_a_worker_may_not(place: Path) -> None:
    # Given a file whose workers leave its tables to somebody else
    backend = opened(f"sqlite:///{place.with_name('other.db')}?migrate=refuse")
    with pytest.raises(ConfigError, match="run `worksong migrate"):
        await push(backend, a_job())
    # When that one makes them, then they work
    assert await backend.migrate() == (0, newest("sqlite"))
    assert await push(backend, a_job()) == [True]
    await backend.close()


async def test_tables_newer_than_this_program_are_refused_where_it_could_not_work_with_them(
    backend: SqlBackend, place: Path
) -> None:
    # Given a file to which a newer version added something
    await push(backend, a_job())
    await backend.close()
    with sqlite3.connect(place) as connection:
        connection.execute("INSERT INTO worksong_schema (version) VALUES (999)")
    # When it is opened, then it is worked with
    assert await push(backend, a_job()) == [True]
    assert await backend.migrate() == (999, 999)
    await backend.close()
    # And one whose tables it changed is not
    with sqlite3.connect(place) as connection:
        connection.execute("INSERT INTO worksong_schema (version) VALUES (1000)")
    with pytest.raises(ConfigError, match=r"of version 1000, and this worksong knows versions up to"):
        await push(backend, a_job())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://jobs.db", "takes the path of a file"),
        ("sqlite:///", "takes the path of a file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///jobs.db?synchronous=OFF", "must be one of FULL, NORMAL, EXTRA"),
        ("sqlite:///jobs.db?sync=FULL", "has no option 'sync'"),
        ("sqlite:///jobs.db?timeout=0", "must be a time greater than nothing"),
        ("sqlite:///jobs.db?history=soon", "invalid duration"),
    ],
)
def test_a_url_that_cannot_work_says_why(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        opened(url)


# how it is written


@pytest.mark.parametrize(("option", "level"), [("", 2), ("?synchronous=NORMAL", 1), ("?synchronous=EXTRA", 3)])
async def test_commits_reach_the_disk_unless_asked_otherwise(place: Path, option: str, level: int) -> None:
    backend = opened(f"sqlite:///{place}{option}")
    assert await backend._store.run(_pragmas) == ["wal", level]
    await backend.close()


def _pragmas():  # type: ignore[no-untyped-def]
    from worksong.adapters.sql.steps import Step

    mode = yield Step("journal_mode", {})
    level = yield Step("synchronous", {})
    return [mode[0][0], level[0][0]]


async def test_many_operations_at_once_are_carried_out_each_by_itself(backend: SqlBackend) -> None:
    jobs = some_jobs(200)
    new = await asyncio.gather(*(push(backend, job) for job in jobs), push(backend, jobs[0]))
    assert new == [[True]] * 200 + [[False]]
    assert await lent_ids(backend, await join(backend), 1000) == [job.id for job in jobs]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/jobs.db", ""),
        ("/mnt/team/jobs.db", "nfs4"),
        ("/mnt/team/local/jobs.db", ""),
        ("/mnt/with space/jobs.db", "cifs"),
        ("/mnt/team-of-others/jobs.db", ""),
    ],
)
def test_network_file_systems_are_told_from_local_ones(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "40 22 0:50 / /mnt/team rw - nfs4 server:/team rw\n"
        "41 40 0:51 / /mnt/team/local rw - xfs /dev/vdb rw\n"
        "42 22 0:52 / /mnt/with\\040space rw - cifs //server/share rw\n"
    )
    assert network_filesystem(Path(path), mounts) == kind


async def test_a_network_file_system_is_refused_unless_allowed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worksong.adapters.sql.sqlite.network_filesystem", lambda path: "nfs4")
    backend = opened(f"sqlite:///{place}")
    with pytest.raises(ConfigError, match="network file system"):
        await push(backend, a_job())
    await backend.close()
    allowed = opened(f"sqlite:///{place}?network=allow")
    assert await push(allowed, a_job(enqueued_at=T)) == [True]
    await allowed.close()
