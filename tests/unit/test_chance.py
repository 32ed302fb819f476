"""The chance of worksong is not that of the application."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from worksong.ports import chance

SRC = Path(chance.__file__).parents[1]


def test_an_application_that_seeded_its_chance_finds_it_untouched() -> None:
    # Given an application that seeded its own
    random.seed(7)
    alone = [random.random() for _ in range(3)]
    # When worksong draws in between
    random.seed(7)
    beside = [(chance.random(), chance.uniform(0, 1), random.random())[-1] for _ in range(3)]
    # Then the application draws what it would have drawn
    assert beside == alone


PARENT = """
import os
from worksong.ports import chance
for _ in range(2):
    child = os.fork()
    if not child:
        print(chance.random(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_children_draw_apart() -> None:
    # Given two children of one process
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True)
    # Then they do not draw the same: they would all wait equally long
    first, second = done.stdout.split()
    assert first != second


def test_no_module_draws_from_the_applications_chance() -> None:
    own = {"ports/chance.py"}
    drawing = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if "import random\n" in path.read_text() and "testing" not in path.parts
    }
    assert drawing <= own
