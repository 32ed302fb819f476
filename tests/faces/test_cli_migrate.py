"""`worksong migrate`."""

from __future__ import annotations

from pathlib import Path

from faces.stage import Cli
from worksong.adapters.sql.migrate import newest


def test_tables_are_made_once(bare: Cli, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    first, second = bare("migrate", "--url", url), bare("migrate", "--url", url)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "tables created" in first.stdout
    assert f"up to date (version {newest('sqlite')})" in second.stdout


def test_a_backend_without_tables_says_so(bare: Cli) -> None:
    result = bare("migrate", "--url", "memory://")
    assert result.exit_code == 1
    assert "memory:// cannot migrate; it has no tables" in result.stderr
