"""`resque+redis://`: Resque's queues, served and filled beside its Ruby, Go and Node workers."""

from __future__ import annotations

from worksong.adapters.resque.backend import ResqueBackend

__all__ = ["ResqueBackend"]
