"""A backend beside its model, for as many steps as WORKSONG_MACHINE_STEPS says."""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from worksong.ports.backend import Backend
from worksong.testing.machine import machine_for

LENGTH = 40
STEPS = int(os.environ.get("WORKSONG_MACHINE_STEPS", "2000"))
PATIENCE = 600 + STEPS / 20
"""Seconds for a run on a slow machine."""


def beside_its_model(make: Callable[[], Backend], *, steps: int = STEPS) -> None:
    """Try random steps on fresh backends that `make` gives; fails with the steps that tell them from the model."""
    run_state_machine_as_test(
        machine_for(make),
        settings=settings(
            max_examples=max(1, steps // LENGTH),
            stateful_step_count=LENGTH,
            deadline=None,
            derandomize=True,
            database=None,
        ),
    )
