"""Jobs in this process: the reference for the contract, and the backend that needs nothing installed."""

from __future__ import annotations

from worksong.adapters.memory.backend import MemoryBackend
from worksong.adapters.memory.records import MemoryRecords
from worksong.adapters.memory.results import MemoryResults

__all__ = ["MemoryBackend", "MemoryRecords", "MemoryResults"]
