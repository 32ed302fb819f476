"""`redis://`: gocraft/work's queues, served and filled beside its Go workers."""

from __future__ import annotations

from worksong.adapters.gocraft.backend import GocraftBackend

__all__ = ["GocraftBackend"]
