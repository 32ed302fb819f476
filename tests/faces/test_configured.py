"""An app's worker, as a configuration wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from worksong import Worker
from worksong.faces.cli.configured import configured, keep_records
from worksong.settings import Settings
from worksong.settings.values import Seconds


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that names its records itself, and is loaded anew for each test."""
    name = f"app_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from worksong import Worker\n\n"
        "worker = Worker('sqlite:///jobs.db', name='shop')\n"
        "worker.keep_records('sqlite:///records.db', retention=60.0)\n"
    )
    monkeypatch.chdir(tmp_path)
    return f"{name}:worker"


def retention_of(worker: Worker) -> float:
    assert worker.ledgers
    return worker.ledgers.origin.retention


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (Settings(), 60.0),
        (Settings(retention=Seconds(30.0)), 30.0),
        (Settings(retention=Seconds(30.0), records="sqlite:///others.db"), 30.0),
        (Settings(records="sqlite:///others.db"), 60.0),
    ],
)
def test_records_are_kept_as_long_as_somebody_says(app: str, settings: Settings, kept: float) -> None:
    # When the app's worker is configured, as run and serve do it
    worker = configured(app, settings)
    keep_records(worker, settings)
    # Then what the configuration says counts, and else what the app does
    assert retention_of(worker) == kept


def test_records_that_nobody_has_named_are_kept_for_a_week() -> None:
    worker = Worker("sqlite:///jobs.db")
    keep_records(worker, Settings())
    assert retention_of(worker) == 7 * 86400.0


def test_what_jobs_do_is_told_unless_the_app_says_no(app: str) -> None:
    assert configured(app, Settings()).history is True
