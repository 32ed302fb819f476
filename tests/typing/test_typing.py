"""What type checkers say about the typed form: nothing about right calls, and something about every wrong one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"
CHECKERS = {"mypy": ("mypy", "--strict"), "basedpyright": ("basedpyright",)}

pytestmark = pytest.mark.parametrize("checker", CHECKERS)


def reported(checker: str, path: Path) -> dict[int, str]:
    """What the checker says about the file, by line."""
    module, *options = CHECKERS[checker]
    command = [sys.executable, "-m", module, *options, str(path)]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert told.returncode in (0, 1), told.stdout + told.stderr
    found = re.finditer(rf"{path.name}:(\d+):(?:\d+)?.*?(?:error|warning).*", told.stdout)
    return {int(line[1]): line[0] for line in found}


def test_right_calls_are_accepted(checker: str) -> None:
    assert reported(checker, RIGHT) == {}


def test_exactly_the_planted_mistakes_are_reported(checker: str) -> None:
    # Given the lines with a mistake
    lines = WRONG.read_text().splitlines()
    planted = {number: line.strip() for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert len(planted) >= 10

    # When the checker has looked at the file
    found = reported(checker, WRONG)

    # Then it has reported each of them, and nothing else
    missed = {number: line for number, line in planted.items() if number not in found}
    false_alarms = {number: line for number, line in found.items() if number not in planted}
    assert (missed, false_alarms) == ({}, {})
