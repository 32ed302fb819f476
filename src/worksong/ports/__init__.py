"""What the core asks of the world: protocols that speak of jobs, never of servers."""

from __future__ import annotations
