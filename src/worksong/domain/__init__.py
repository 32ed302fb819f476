"""The pure heart: what a job is and what can become of it. No I/O, no clock, no chance."""

from __future__ import annotations
