"""What the tests of the faces are given."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from faces.stage import Cli, Program, Shop, Start
from worksong.service.rates import Rate


@pytest.fixture
def url(redis_url: str) -> str:
    return f"{redis_url}?namespace=test-{uuid.uuid4().hex}"


@pytest.fixture
def endless_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shows wrong tokens to the console again and again is looked at all the same."""
    monkeypatch.setattr("worksong.faces.web.reception.WRONG_TOKENS", Rate(1e9, 1_000_000))


@pytest.fixture
def shop(url: str) -> Shop:
    return Shop(url)


@pytest.fixture
def cli(url: str) -> Cli:
    """The command, aimed at a namespace of its own."""
    return Cli(url)


@pytest.fixture
def bare() -> Cli:
    """The command, aimed nowhere."""
    return Cli()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs in a directory of their own, and sees to their end."""
    started: list[Program] = []

    def begin(*args: str, url: str = "") -> Program:
        started.append(Program(args, cwd=tmp_path, url=url))
        return started[-1]

    yield begin
    for program in started:
        program.end()
