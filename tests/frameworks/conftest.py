"""What the tests of frameworks are given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faces.stage import Program
from frameworks.stage import ROOT, Python


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Python]:
    """Starts `python ...` in an empty directory, with the examples and these tests on its path; sees to its end."""
    started: list[Program] = []

    def begin(*args: str, url: str = "", **env: str) -> Program:
        path = f"{ROOT}:{ROOT / 'tests'}"
        started.append(Program(args, cwd=tmp_path, url=url, command=(sys.executable,), env={"PYTHONPATH": path, **env}))
        return started[-1]

    yield begin
    for program in started:
        program.end()
