"""For tests: a clock to turn, jobs run inline or drained, what was enqueued, and the contract of a backend."""

from __future__ import annotations

from worksong.testing.clock import FakeClock
from worksong.testing.drain import adrain, drain
from worksong.testing.enqueued import aenqueued, assert_enqueued, enqueued
from worksong.testing.inline import Ran, inline

__all__ = ["FakeClock", "Ran", "adrain", "aenqueued", "assert_enqueued", "drain", "enqueued", "inline"]
