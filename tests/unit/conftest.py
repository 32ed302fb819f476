"""What tests of a whole worker in memory stand on."""

from __future__ import annotations

import pytest

from engine_bench import Ledger, on
from worksong import Worker


@pytest.fixture
def backend() -> Ledger:
    """Notes each ending that it has carried out."""
    return Ledger()


@pytest.fixture
def worker(backend: Ledger, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker in memory whose endings are noted."""
    return on(backend, monkeypatch)
