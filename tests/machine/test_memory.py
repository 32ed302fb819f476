"""`memory://` beside its model; WORKSONG_MACHINE_STEPS sets how many steps are tried."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from worksong.adapters.memory import MemoryBackend
from worksong.testing.machine import machine_for

LENGTH = 40
STEPS = int(os.environ.get("WORKSONG_MACHINE_STEPS", "8000"))

pytestmark = pytest.mark.timeout(600 + STEPS / 100)

TestMemory = machine_for(MemoryBackend).TestCase
TestMemory.settings = settings(
    max_examples=max(1, STEPS // LENGTH), stateful_step_count=LENGTH, deadline=None, derandomize=True, database=None
)
