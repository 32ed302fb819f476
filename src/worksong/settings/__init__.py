"""Settings of a worker and of the job service: one frozen struct, from a file and the environment."""

from __future__ import annotations

from worksong.settings.reading import Reading, read_settings
from worksong.settings.settings import Settings
from worksong.settings.values import Address

__all__ = ["Address", "Reading", "Settings", "read_settings"]
