"""`sqlite:///` beside its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine.beside import PATIENCE, beside_its_model
from worksong.adapters.sql.sqlite import sqlite_backend
from worksong.domain.job import new_id


@pytest.mark.timeout(PATIENCE)
def test_sqlite_does_what_the_model_says(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db?synchronous=NORMAL"
    beside_its_model(lambda: sqlite_backend(url, namespace=new_id()))
