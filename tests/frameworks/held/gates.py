"""Requests and jobs that wait for a test to let them go on, and a journal of what they come to."""

from __future__ import annotations

import time
from pathlib import Path

JOURNAL = Path("journal")
"""In the directory that all processes of a test are started in, as gates are."""


def note(event: str) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(f"{event}\n")


def wait_at(gate: str) -> None:
    """Until a file of this name is there."""
    while not Path(gate).exists():
        time.sleep(0.01)
