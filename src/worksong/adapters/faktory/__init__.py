"""`faktory://`: Faktory's work protocol."""

from __future__ import annotations

from worksong.adapters.faktory.backend import FaktoryBackend

__all__ = ["FaktoryBackend"]
