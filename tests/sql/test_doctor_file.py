"""The doctor of a file: each thing is broken for real, found, and mended."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sql.stage import ailing, opened
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor import sqlite
from worksong.adapters.sql.filesystem import shared_filesystem
from worksong.domain.errors import ConfigError
from worksong.domain.finding import Severity
from worksong.testing.contract.steps import a_job, push

LOOK = """
import asyncio, sys, time
from worksong.adapters.sql.sqlite import sqlite_backend

async def main():
    backend = sqlite_backend(sys.argv[1], namespace="")
    for finding in await backend.examine(time.time()):
        if finding.severity != "ok":
            print(finding.id, finding.detail)

import os
from worksong.adapters.sql.migrate import migrations
from worksong.adapters.sql.steps import questions, statements
migrations("sqlite"), statements("sqlite"), questions("sqlite_doctor")  # later they may not be readable
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""
"""Looks with no more rights than anybody."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def backend(place: Path) -> AsyncIterator[SqlBackend]:
    """Its file is there, and nothing has it open."""
    backend = opened(f"sqlite:///{place}?timeout=0.5", "mine")
    await push(backend, a_job())
    await backend.close()
    yield backend
    await backend.close()


async def test_a_healthy_file_passes_every_check(backend: SqlBackend) -> None:
    assert await ailing(backend) == {}


async def test_a_file_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    backend = opened(f"sqlite:///{tmp_path}/jobs.db")
    for _ in range(2):  # looking makes none
        assert list(await ailing(backend)) == ["sqlite.absent"]
    await backend.close()


async def test_a_file_without_tables_is_told_and_left_without(place: Path) -> None:
    # Given somebody's database
    with sqlite3.connect(place) as connection:
        connection.execute("CREATE TABLE sale (number INTEGER)")
    connection.close()
    # Then it has no tables yet, which is an error only where they do not make themselves
    auto, refuse = opened(f"sqlite:///{place}"), opened(f"sqlite:///{place}?migrate=refuse")
    assert (await ailing(auto))["sql.tables.missing"].severity is Severity.INFO
    assert (await ailing(refuse))["sql.tables.missing"].severity is Severity.ERROR
    with sqlite3.connect(place) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("sale",)]
    connection.close()


async def test_a_file_whose_log_was_taken_away_gets_it_back(backend: SqlBackend, place: Path) -> None:
    with sqlite3.connect(place) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
    for _ in range(2):  # looking does not mend it
        finding = (await ailing(backend))["sqlite.journal"]
        assert (finding.detail, finding.fixable) == ("journal_mode is delete", True)
    assert await backend.fix("sqlite.journal", time.time()) == "carried out: PRAGMA journal_mode = WAL"
    assert await ailing(backend) == {}


async def test_a_log_that_cannot_begin_anew_is_told_until_its_reader_is_gone(
    backend: SqlBackend, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who reads and does not end, while others write
    monkeypatch.setattr(sqlite, "LONG_LOG", 1 << 20)
    reader = sqlite3.connect(place, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM worksong_job").fetchall()
    for _ in range(3):
        await push(backend, *(a_job(args={"text": "x" * 100_000}) for _ in range(8)))
    assert (await ailing(backend))["sqlite.wal.large"].detail == "it has 2 MiB, 1 are usual"
    # When it is mended while he reads on, nothing changes
    await backend.fix("sqlite.wal.large", time.time())
    assert "sqlite.wal.large" in await ailing(backend)
    # Then it is mended once he is gone
    reader.close()
    await backend.fix("sqlite.wal.large", time.time())
    assert await ailing(backend) == {}


async def test_a_missing_index_is_made_anew(backend: SqlBackend, place: Path) -> None:
    with sqlite3.connect(place) as connection:
        connection.execute("DROP INDEX worksong_job_lock")
    connection.close()
    finding = (await ailing(backend))["sql.index.missing"]
    assert finding.detail.startswith("worksong_job_lock on worksong_job; without")
    assert "WHERE unique_key IS NOT NULL" in await backend.fix("sql.index.missing", time.time())
    assert await ailing(backend) == {}


@pytest.mark.parametrize("page", [13, 30])  # damage that the library tells, and such that it stumbles over
async def test_damage_is_found(backend: SqlBackend, place: Path, page: int) -> None:
    # Given a file of which a page was overwritten
    await push(backend, *(a_job(args={"text": "x" * 1000}) for _ in range(200)))
    await backend.close()
    whole = overwritten(place, page)
    # When the doctor looks
    found = await ailing(backend)
    # Then he says so, and with the page back all is well
    assert found["sqlite.damaged"].severity is Severity.ERROR
    assert ".recover" in found["sqlite.damaged"].mend
    await backend.close()
    restored(place, whole)
    assert await ailing(backend) == {}


def overwritten(place: Path, page: int) -> bytes:
    """What the file was before."""
    whole = place.read_bytes()
    place.write_bytes(whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :])
    return whole


def restored(place: Path, whole: bytes) -> None:
    place.write_bytes(whole)


async def test_a_file_too_large_to_be_read_through_is_not(backend: SqlBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "READ_THROUGH", 1000)
    assert "not read through" in (await ailing(backend))["sql.unchecked"].detail


async def test_no_database_at_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("This is no database, and long enough for that to be seen. " * 20)
    backend = opened(f"sqlite:///{tmp_path}/text")
    assert "no SQLite database" in (await ailing(backend))["sql.unchecked"].detail
    await backend.close()


async def test_what_the_url_risks_is_told(place: Path) -> None:
    backend = opened(f"sqlite:///{place}?synchronous=NORMAL")
    await push(backend, a_job())
    assert (await ailing(backend))["sqlite.synchronous"].detail == "the URL says synchronous=NORMAL"
    await backend.close()


async def test_a_disk_that_is_nearly_full_is_told(small_disk: Path) -> None:
    backend = opened(f"sqlite:///{small_disk}/jobs.db")
    await push(backend, a_job())
    (finding,) = [finding for finding in await backend.examine(time.time()) if finding.id == "sqlite.disk"]
    assert (finding.severity, finding.detail[-20:]) == (Severity.ERROR, "MiB of 2 MiB are free"[-20:])
    await backend.close()


def test_what_may_not_be_written_is_named() -> None:
    # Given a directory and a file that nobody may write, in a place where anybody may look
    with TemporaryDirectory() as directory:
        place = Path(directory, "jobs.db")
        asyncio.run(_made(place))
        place.chmod(0o444)
        place.parent.chmod(0o555)
        # When somebody looks
        command = [sys.executable, "-c", LOOK, f"sqlite:///{place}"]
        looked = subprocess.run(command, capture_output=True, text=True, check=False)
    # Then both are named
    assert looked.stderr == ""
    assert f"sqlite.read_only not writable: {place.parent}, {place}" in looked.stdout


async def _made(place: Path) -> None:
    backend = opened(f"sqlite:///{place}")
    await push(backend, a_job())
    await backend.close()


async def test_a_directory_that_nobody_may_enter_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    backend = opened(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(ConfigError, match="may not look into"):
        await backend.examine(time.time())


# file systems


@pytest.mark.parametrize(
    ("function", "kind", "finding_id"),
    [
        ("network_filesystem", "nfs4", "sqlite.network"),
        ("shared_filesystem", "9p", "sqlite.shared"),
    ],
)
async def test_a_file_system_whose_locks_do_not_hold_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, function: str, kind: str, finding_id: str
) -> None:
    backend = opened(f"sqlite:///{place}")
    await push(backend, a_job())
    monkeypatch.setattr(f"worksong.adapters.sql.sqlite_bedside.{function}", lambda path: kind)
    findings = {finding.id: finding for finding in await backend.examine(time.time())}
    assert findings[finding_id].detail == f"it is {kind}"
    await backend.close()


def test_directories_of_a_host_are_told_from_local_ones(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 0:30 / / rw,relatime - overlay overlay rw\n"
        "40 22 0:50 / /mnt/host rw - 9p drvfs rw\n"
        "41 22 0:51 / /mnt/team rw - nfs4 server:/team rw\n"
    )
    found = [shared_filesystem(Path(path), mounts) for path in ("/jobs.db", "/mnt/host/jobs.db", "/mnt/team/jobs.db")]
    assert found == ["", "9p", ""]
