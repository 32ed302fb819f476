"""A framework's program as a process of its own, and somebody who asks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from faces.stage import Program
from patience import PATIENCE

Python = Callable[..., Program]
"""Starts `python ...` with these arguments, `url` and other variables."""
ROOT = Path(__file__).parents[2]
LISTENS = re.compile(r"https?://[\w.:]+")


class Site:
    """A program that listens, on a port of its own choice."""

    def __init__(self, program: Program, says: str) -> None:
        """`says`: what is in the line that tells the address."""
        self.program = program
        found = LISTENS.search(program.line(says))
        assert found, program.output
        self.address = found[0]

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        return self.ask("POST", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Straight to it, whatever proxy the environment names."""
        return httpx2.request(method, f"{self.address}{path}", timeout=PATIENCE, trust_env=False, **options)
