"""`worksong ui`: the web console as a program."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import time
from pathlib import Path

import httpx2
import pytest

from faces.stage import Cli, Shop, Start
from patience import PATIENCE
from worksong.domain.job import Job
from worksong.domain.outcome import Buried

APP = """
from worksong import Worker

worker = Worker(name="shop")
worker.register("report", lambda: None)
worker.periodic("@hourly", "report")
"""
TOKEN = "operator-token-0123456789"


def address_in(line: str) -> str:
    found = re.search(r"http://[^ ]+", line)
    assert found, line
    return found[0]


def seen(address: str, **headers: str) -> httpx2.Response:
    """The page, however long this machine takes to write it."""
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx2.get(address, headers=headers, timeout=PATIENCE)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
    return answer


def test_it_serves_the_jobs_of_a_url_until_told_to_stop(shop: Shop, start: Start) -> None:
    (job_id,) = shop.settle(Buried("LookupError: order 7"), Job("charge", {"order": 7}))
    # When the console of a store is started on a port that is free
    console = start("ui", "--http", "127.0.0.1:0", "--base-path", "/jobs", url=shop.url)
    address = address_in(console.line("worksong console:"))
    # Then it says where it is, and shows what there is
    assert job_id in seen(f"{address}jobs?state=dead").text
    assert "server" not in seen(f"{address}healthz").headers
    # And ends when told to, though a page listens to what changes
    with httpx2.stream("GET", f"{address}changes", timeout=PATIENCE) as listening:
        lines = listening.iter_lines()
        assert next(lines) == "retry: 1000"
        console.send(signal.SIGTERM)
        with contextlib.suppress(httpx2.HTTPError):  # where the server had no time to say that it is over
            list(lines)
    assert console.wait() == 0


def test_it_knows_an_application(start: Start, tmp_path: Path) -> None:
    (tmp_path / "shop_app.py").write_text(APP)
    console = start("ui", "shop_app:worker", "--http", "0", "--token", TOKEN)
    address = address_in(console.line("worksong console:"))
    assert httpx2.get(f"{address}cron", timeout=PATIENCE).status_code == 303
    page = seen(f"{address}cron", Authorization=f"Bearer {TOKEN}").text
    assert "report" in page
    console.send(signal.SIGINT)
    assert console.wait() == 0


@pytest.mark.parametrize("address", ["0.0.0.0:0", "10.1.2.3:80", "[::]:0"])
def test_other_machines_are_not_let_in_without_a_token(cli: Cli, address: str) -> None:
    refused = cli("ui", "--http", address)
    assert refused.exit_code == 1
    assert "--token" in refused.stderr
    assert "--insecure-no-auth" in refused.stderr


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "127.0.0.1:70000", ""])
def test_an_address_that_is_none_is_refused(cli: Cli, address: str) -> None:
    refused = cli("ui", "--http", address)
    assert refused.exit_code == 2
    assert "127.0.0.1:4747" in refused.stderr


def test_a_weak_token_is_refused(cli: Cli) -> None:
    refused = cli("ui", "--token", "secret")
    assert refused.exit_code == 1
    assert "16 printable characters" in refused.stderr


def test_without_its_packages_it_says_how_to_get_them(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refused = cli("ui")
    assert refused.exit_code == 1
    assert "pip install 'worksong[web]'" in refused.stderr
