"""Every example runs as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parents[1].glob("examples/*.py"))

SAYS = {
    "hello": ["hello, world"],
    "shop": ["the second resize of the same image was refused", "reminding user 7", "charge_card took"],
    "service": ["words of the page: 4"],
    "demo": [
        "charged at the third try",
        "piped through: 6 words",
        "ran once, though it was enqueued three times",
        "jobs done",
        "dead, kept",
    ],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_by_itself_and_says_what_it_promises(example: Path) -> None:
    ran = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    for promise in SAYS[example.stem]:
        assert promise in ran.stdout + ran.stderr
