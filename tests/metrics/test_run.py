"""`worksong run --metrics`: one answer for all processes, and none for strangers."""

from __future__ import annotations

import os
import re
import signal
import socket
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from faces.stage import Cli, Program, Shop, Start
from metrics.scrape import get, scraped_until
from patience import PATIENCE
from worksong import Job

APP = """
from __future__ import annotations

import os

from worksong import Worker

worker = Worker(name="choir", concurrency=2)


@worker.job(max_fails=1)
async def sing(verse: int) -> None:
    os.write(1, f"verse {verse} by {os.getpid()}\\n".encode())  # one line, whoever else writes


@worker.job(max_fails=1)
def fail() -> None:
    raise ValueError("out of tune")
"""
ADDRESS = re.compile(r"metrics at (http://\S+)/metrics")


@pytest.fixture
def url(redis_url: str) -> str:
    return f"{redis_url}?namespace=test-{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> None:
    (tmp_path / "choir.py").write_text(APP)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs in a directory of their own, and sees to their end."""
    started: list[Program] = []

    def begin(*args: str, url: str) -> Program:
        started.append(Program(args, cwd=tmp_path, url=url))
        return started[-1]

    yield begin
    for program in started:
        program.end()


def address_of(program: Program) -> str:
    found = ADDRESS.search(program.line("metrics at"))
    assert found
    return found[1]


def test_one_process_serves_its_metrics_and_its_health(start: Start, url: str) -> None:
    # Given a worker that serves its metrics
    program = start("run", "choir:worker", "--metrics", "127.0.0.1:0", url=url)
    place = address_of(program)

    # When it runs jobs, then they are told of, and it is healthy
    Shop(url).push(Job("sing", {"verse": 1}), Job("fail"))
    seen = scraped_until(
        f"{place}/metrics", lambda seen: seen.has("worksong_jobs_total") and seen("worksong_jobs_total") == 2
    )
    assert seen("worksong_jobs_total", handler="fail", outcome="dead") == 1
    assert seen("worksong_slots") == 2
    assert get(f"{place}/healthz") == "ok\n"

    # And nothing else is there
    with pytest.raises(HTTPError, match="404"):
        get(f"{place}/")
    program.send(signal.SIGTERM)
    assert program.wait() == 0


def test_several_processes_have_one_answer_which_outlives_each_of_them(start: Start, url: str) -> None:
    # Given two processes, and jobs that both of them have run
    program = start("run", "choir:worker", "--processes", "2", "--metrics", "127.0.0.1:0", url=url)
    place = f"{address_of(program)}/metrics"
    scraped_until(place, lambda seen: seen("worksong_processes") == 2)
    Shop(url).push(*(Job("sing", {"verse": verse}) for verse in range(40)))
    singer = int(program.line("verse").rpartition(" ")[2])
    seen = scraped_until(place, lambda seen: seen.has("worksong_jobs_total") and seen("worksong_jobs_total") >= 40)
    assert seen("worksong_slots") == 4

    # When one of them is killed and another takes its place, then what it had told of stays counted
    os.kill(singer, signal.SIGKILL)
    program.line("ended by SIGKILL")
    Shop(url).push(*(Job("sing", {"verse": verse}) for verse in range(40)))
    scraped_until(place, lambda seen: seen("worksong_jobs_total") >= 80 and seen("worksong_processes") == 2)
    program.send(signal.SIGTERM)
    assert program.wait() == 0


def test_a_page_of_others_cannot_read_what_is_for_this_machine(start: Start, url: str) -> None:
    # Given metrics on this machine
    program = start("run", "choir:worker", "--metrics", "127.0.0.1:0", url=url)
    place = urlsplit(address_of(program))

    # When they are asked for under a name that only somebody else's DNS leads here, then they are refused
    connection = HTTPConnection(place.netloc, timeout=PATIENCE)
    connection.request("GET", "/metrics", headers={"Host": "evil.example"})
    answer = connection.getresponse()
    assert (answer.status, b"worksong_" in answer.read()) == (421, False)
    connection.close()


def test_other_machines_are_let_in_only_when_somebody_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = Cli()("run", "choir:worker", "--metrics", "0.0.0.0:9464")
    assert refused.exit_code == 1
    assert "--insecure-metrics" in refused.output


def test_an_address_that_is_taken_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = Cli()("run", "choir:worker", "--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
    assert refused.exit_code == 1
    assert "cannot listen" in refused.output
