"""What the doctor of a database finds among the jobs, and takes back; and judgements on what no test can break."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import pytest

from sql.stage import ailing, told
from worksong.adapters.sql.address import Address
from worksong.adapters.sql.backend import SqlBackend
from worksong.adapters.sql.doctor import mysql
from worksong.adapters.sql.doctor.chart import Chart
from worksong.adapters.sql.doctor.charting import beyond
from worksong.adapters.sql.doctor.postgres import POSTGRES
from worksong.adapters.sql.doctor.sqlite import library
from worksong.adapters.sql.doctor.tables import blueprint, tables
from worksong.adapters.sql.migrate import newest
from worksong.domain.errors import InvalidArguments
from worksong.domain.finding import Finding, Severity
from worksong.domain.lifecycle import State
from worksong.testing.contract.steps import fetch, join, lend

# among the jobs


async def change(backend: SqlBackend, sql: str) -> None:
    """As somebody else would."""
    address = backend._store.address
    if address.host:
        await told(backend, sql)
        return
    with sqlite3.connect(address.database) as connection:
        connection.execute(sql)
    connection.close()


async def test_jobs_of_a_pool_that_died_unnoticed_are_taken_back(backend: SqlBackend) -> None:
    # Given a pool that holds a job and has not beaten for an hour
    pool, delivery = await lend(backend, now=time.time())
    await change(backend, f"UPDATE worksong_pool SET beat_at = beat_at - 3600 WHERE id = '{pool.id}'")
    assert (await ailing(backend))["pools.silent"].fixable
    # When it is mended
    done = await backend.fix("pools.silent", time.time())
    # Then its job waits again, once
    assert done == f"took back from {pool.id}: 1 jobs queued again, 0 buried"
    assert "pools.silent" not in await ailing(backend)
    (again,) = await fetch(backend, await join(backend, now=time.time()), 5, now=time.time())
    assert again.job.id == delivery.job.id
    assert await backend.fix("pools.silent", time.time()) == "nobody holds jobs without a sign of life by now"


async def test_jobs_of_a_pool_that_is_registered_nowhere_are_taken_back(
    backend: SqlBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job whose pool was struck off
    looks: list[float] = []

    async def look_again(seconds: float) -> None:
        looks.append(seconds)

    monkeypatch.setattr(backend._doctor, "_sleep", look_again)
    pool, _ = await lend(backend, now=time.time())
    await change(backend, f"DELETE FROM worksong_pool WHERE id = '{pool.id}'")
    # When the doctor looks, twice, and mends it
    assert (await ailing(backend))["jobs.orphaned"].detail == f"jobs of pools {pool.id}"
    await backend.fix("jobs.orphaned", time.time())
    # Then it waits again
    assert "jobs.orphaned" not in await ailing(backend)
    assert (await backend.counts())[State.QUEUED] == 1
    assert looks == [1.0, 1.0]


async def test_what_the_doctor_cannot_mend_he_says(backend: SqlBackend) -> None:
    with pytest.raises(InvalidArguments, match=r"cannot mend 'sql.forgets' itself; here it can: .*sql.index.missing"):
        await backend.fix("sql.forgets", time.time())


# what a test cannot break


def judged(answers: dict[str, Sequence[tuple[Any, ...]]]) -> dict[str, Finding]:
    """What is found on PostgreSQL with these answers, where nothing else is wrong."""
    address = Address(scheme="postgresql", host="h", database="d")
    chart = Chart(dialect="postgres", address=address, version=newest("postgres"), answers=answers)
    tables_ill = ("sql.tables.gone", "sql.index.missing")
    found = [finding for finding in POSTGRES.examine(chart) if finding.severity is not Severity.OK]
    return {finding.id: finding for finding in found if finding.id not in tables_ill}


USUAL = [("server_version_num", "150004"), ("default_transaction_isolation", "read committed")]


def test_a_server_that_answers_as_usual_has_nothing() -> None:
    assert judged({"settings": USUAL, "recovery": [(False,)], "ages": [(200_000_000, 5)]}) == {}


def test_a_standby_takes_no_writes() -> None:
    assert judged({"settings": USUAL, "recovery": [(True,)]})["sql.read_only"].detail.startswith("it is in recovery")


@pytest.mark.parametrize(
    ("ages", "severity"),
    [
        ((1_600_000_000, 5), Severity.WARNING),
        ((5, 1_600_000_000), Severity.WARNING),
        ((2_050_000_000, 5), Severity.ERROR),
    ],
)
def test_numbers_of_transactions_that_run_out_are_told(ages: tuple[int, int], severity: Severity) -> None:
    assert judged({"settings": USUAL, "ages": [ages]})["postgres.wraparound"].severity is severity


@pytest.mark.parametrize(
    ("name", "value", "finding_id"),
    [
        ("server_version_num", "110022", "postgres.version"),
        ("full_page_writes", "off", "postgres.torn_pages"),
        ("autovacuum", "off", "postgres.autovacuum.off"),
    ],
)
def test_settings_of_a_whole_server_are_judged(name: str, value: str, finding_id: str) -> None:
    settings = dict(USUAL) | {name: value}
    assert list(judged({"settings": list(settings.items())})) == [finding_id]


@pytest.mark.parametrize(("taken", "found"), [(77, []), (78, ["sql.connections.many"])])
def test_connections_kept_for_superusers_are_not_ours(taken: int, found: list[str]) -> None:
    settings = [*USUAL, ("max_connections", "100"), ("superuser_reserved_connections", "3")]
    assert list(judged({"settings": settings, "sessions": [(taken,), (None,)]})) == found


@pytest.mark.parametrize(("taken", "found"), [("120", []), ("121", ["sql.connections.many"])])
def test_connections_of_mysql_are_counted_from_its_own_words(taken: str, found: list[str]) -> None:
    answers = {"settings": [("max_connections", "151")], "sessions": [("Threads_connected", taken)]}
    chart = Chart(dialect="mysql", address=Address(scheme="mysql", host="h", database="d"), answers=answers)
    assert [finding.id for finding in mysql.connections(chart)] == found


@pytest.mark.parametrize(
    ("version", "ill"),
    [("3.40.1", True), ("3.44.5", True), ("3.44.6", False), ("3.45.0", True), ("3.51.3", False), ("3.53.0", False)],
)
def test_libraries_with_a_known_error_are_told(version: str, ill: bool) -> None:
    chart = Chart(dialect="sqlite", address=Address(scheme="sqlite"), answers={"library": [(version,)]})
    assert bool(list(library(chart))) == ill


def test_a_clock_is_wrong_by_what_the_way_does_not_explain() -> None:
    assert [beyond(5.0, 1.0), beyond(-5.0, 1.0), beyond(0.5, 1.0), beyond(-0.5, 1.0)] == [4.0, -4.0, 0.0, 0.0]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "mysql"])
def test_what_the_migrations_make_is_read_from_them(dialect: str) -> None:
    names = {index.name for index in blueprint(dialect)}
    assert {
        "worksong_job_known" if dialect == "postgres" else "worksong_job_id",
        "worksong_job_lock",
        "worksong_job_line",
        "worksong_job_timed",
    } <= names
    assert {"worksong_job", "worksong_pool", "worksong_schema", "worksong_history"} <= set(tables(dialect))
