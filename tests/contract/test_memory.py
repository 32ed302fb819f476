"""`memory://` against the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from worksong.adapters.memory import MemoryBackend
from worksong.testing.contract import BackendContract


class TestMemory(BackendContract):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[MemoryBackend]:
        backend = MemoryBackend()
        yield backend
        await backend.close()
