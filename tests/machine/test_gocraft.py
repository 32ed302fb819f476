"""`redis://`, in gocraft/work's format, beside its model."""

from __future__ import annotations

import pytest

from machine.beside import PATIENCE, beside_its_model
from worksong.adapters.gocraft import GocraftBackend
from worksong.domain.job import new_id


@pytest.mark.timeout(PATIENCE)
def test_gocraft_does_what_the_model_says(redis_url: str) -> None:
    beside_its_model(lambda: GocraftBackend(f"{redis_url}?namespace={new_id()}", namespace=""))
