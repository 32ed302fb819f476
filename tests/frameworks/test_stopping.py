"""Django and Flask as they are deployed, a server and a worker apart: both end after what they have begun."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faces.stage import Program
from frameworks.stage import ROOT, Python, Site
from frameworks.test_django import ORDER
from patience import PATIENCE, until

GUNICORN = ("-m", "gunicorn", "--bind", "127.0.0.1:0", "--timeout", "0", "--graceful-timeout", "3600")
ENDS_OF_JOBS = "job ended"

pytestmark = pytest.mark.timeout(10 * PATIENCE)


class Deployed(NamedTuple):
    """A framework's example, in a directory of its own, held."""

    application: str
    path: str
    form: dict[str, Any]
    worker: tuple[str, ...]
    start: Callable[..., Program]
    """Its programs."""

    def site(self) -> Site:
        return Site(self.start(*GUNICORN, self.application), "Listening at")

    def work(self, *options: str) -> Program:
        return self.start(*self.worker, "run", "--grace", "1h", *options)


@pytest.fixture
def django(python: Python) -> Deployed:
    def start(*args: str) -> Program:
        path = f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'examples' / 'django_shop'}"
        return python(*args, PYTHONPATH=path, DJANGO_SETTINGS_MODULE="shop.settings", SHOP_DB="shop.db")

    manage = ("-m", "frameworks.held.shop")
    assert start(*manage, "migrate", "--verbosity", "0").wait() == 0
    return Deployed("frameworks.held.shop", "/orders", ORDER, (*manage, "worksong"), start)


@pytest.fixture
def flask(python: Python) -> Deployed:
    worker = ("-m", "flask", "--app", "frameworks.held.book", "worksong")
    return Deployed("frameworks.held.book", "/guests", {"name": "ann"}, worker, python)


@pytest.fixture
def gates(tmp_path: Path, django_or_flask: Deployed) -> Iterator[Path]:
    """Where they are; in the end all are open, so that everybody can leave."""
    yield tmp_path
    for gate in ("request", "job"):
        (tmp_path / gate).touch()


@pytest.fixture(params=["django", "flask"])
def django_or_flask(request: pytest.FixtureRequest) -> Deployed:
    deployed: Deployed = request.getfixturevalue(request.param)
    return deployed


def test_a_server_ends_after_its_requests_and_a_worker_after_its_jobs(django_or_flask: Deployed, gates: Path) -> None:
    deployed, journal = django_or_flask, gates / "journal"
    # Given a job that runs and a request that is not answered yet
    site, worker = deployed.site(), deployed.work()
    assert site.post(deployed.path, data=deployed.form).is_success
    until(journal.exists, "a job has begun")
    with ThreadPoolExecutor() as others:
        late = others.submit(site.post, f"{deployed.path}?held", data=deployed.form)
        until(lambda: "request began" in journal.read_text(), "the request has begun")
        # When the server is told to stop, then it answers that request first, which enqueues as ever
        site.program.send(signal.SIGTERM)
        site.program.line("Handling signal: term")
        (gates / "request").touch()
        assert late.result().is_success
    assert site.program.wait() == 0, site.program.output
    # And the worker, told then, ends after its job
    worker.send(signal.SIGTERM)
    worker.line("stopping")
    assert ENDS_OF_JOBS not in journal.read_text()
    (gates / "job").touch()
    assert worker.wait() == 0, worker.output
    assert ENDS_OF_JOBS in journal.read_text()
    # And what the last request has enqueued has run, or the next worker runs it
    last = deployed.work("--burst")
    assert last.wait() == 0, last.output
    assert journal.read_text().count(ENDS_OF_JOBS) == 2
