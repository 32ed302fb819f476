"""How SQLite reads its tables: what is asked for all the time must not grow with what waits."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from worksong.adapters.sql import migrate
from worksong.adapters.sql.steps import statements

DIALECT = "sqlite"


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    """Ours, and nothing in them."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(migrate.CREATE)
        for step in migrate.migrations(DIALECT):
            for statement in step.statements:
                connection.execute(statement)
        yield connection


def plan_of(name: str, tables: sqlite3.Connection) -> str:
    statement = statements(DIALECT)[name]
    given = dict.fromkeys((*statement.params, *statement.columns))
    return "\n".join(row[3] for row in tables.execute(f"EXPLAIN QUERY PLAN {statement.text}", given))


@pytest.mark.parametrize("name", ["due", "of_state", "timed", "old_dead", "last_dead_kept"])
def test_jobs_are_found_by_their_time_without_sorting_all_that_wait(name: str, tables: sqlite3.Connection) -> None:
    # Given a statement that is asked for the first few of a state
    # When SQLite says how it would carry it out
    plan = plan_of(name, tables)
    # Then it begins where the index has the first one, and stops with the last one asked for
    assert "INDEX worksong_job_timed (space=? AND state=?" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("name", ["pick", "next_queue", "running", "held", "lend", "drop", "move", "waiting_in"])
def test_jobs_are_lent_and_settled_without_reading_others(name: str, tables: sqlite3.Connection) -> None:
    plan = plan_of(name, tables)
    assert "TEMP B-TREE" not in plan
    assert "SCAN job" not in plan
    assert "SCAN worksong_job" not in plan


@pytest.mark.parametrize(
    "name", ["list_records", "list_records_of", "unsent_records", "old_records", "records", "lock_records"]
)
def test_records_are_listed_without_reading_or_sorting_others(name: str, tables: sqlite3.Connection) -> None:
    plan = plan_of(name, tables)
    assert "SEARCH" in plan
    assert "SCAN" not in plan
    assert "TEMP B-TREE" not in plan


def test_no_duplicate_sets_the_number_that_the_server_gives() -> None:
    """MySQL refuses that where MariaDB does nothing."""
    texts = [one.text for one in statements("mysql").values()]
    assert any("ON DUPLICATE KEY UPDATE space = worksong_job.space" in text for text in texts)
    assert not any("UPDATE seq" in text for text in texts)
