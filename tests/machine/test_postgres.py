"""`postgresql://` beside its model."""

from __future__ import annotations

import pytest

from machine.beside import PATIENCE, beside_its_model
from worksong.adapters.sql.postgres import postgres_backend
from worksong.domain.job import new_id


@pytest.mark.timeout(PATIENCE)
def test_postgres_does_what_the_model_says(postgres_url: str) -> None:
    beside_its_model(lambda: postgres_backend(postgres_url, namespace=new_id()))
