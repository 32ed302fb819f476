"""`resque+redis://`, in Resque's format, beside its model."""

from __future__ import annotations

import pytest

from machine.beside import LENGTH, PATIENCE, STEPS, beside_its_model
from worksong.adapters.resque import ResqueBackend
from worksong.domain.job import new_id


@pytest.mark.timeout(PATIENCE)
def test_resque_does_what_the_model_says(redis_url: str) -> None:
    steps = max(LENGTH, STEPS // 4)  # each looks through everything, since the format has no index by id
    beside_its_model(lambda: ResqueBackend(f"resque+{redis_url}?namespace={new_id()}"), steps=steps)
