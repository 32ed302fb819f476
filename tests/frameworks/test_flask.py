"""Flask: the example as its users have it, and the context that jobs run in."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from flask import Flask, current_app, g

from frameworks.stage import Python, Site
from patience import until
from worksong import ConfigError, Worker
from worksong.contrib import flask as contrib
from worksong.contrib.flask import Worksong
from worksong.testing import drain, inline

FLASK = ("-m", "flask", "--app", "examples.flask_app.app")
TOKEN = "operator-token-0123456789"


def test_requests_enqueue_and_a_command_runs_the_jobs_in_the_context_of_the_application(python: Python) -> None:
    site = Site(python(*FLASK, "run", "--port", "0", CONSOLE_TOKEN=TOKEN), "Running on")
    for guest in ("ann", "bob"):
        assert site.post("/guests", data={"name": guest}).status_code == 202
    assert json.loads(command(python, "status", "--json"))["queued"] == 2
    # When a worker of the application runs, in two processes
    command(python, "run", "--burst", "--processes", "2")
    # Then all are thanked
    assert sorted(site.get("/book").json()["thanks"]) == ["thank you, ann", "thank you, bob"]
    # And the console is there, for whoever has the token
    assert site.get("/jobs/queues").status_code == 303
    let_in = {"Authorization": f"Bearer {TOKEN}"}
    until(lambda: site.get("/jobs/queues", headers=let_in).status_code == 200, "the page is there")
    site.program.send(signal.SIGINT)
    site.program.wait()


def command(python: Python, *args: str) -> str:
    program = python(*FLASK, "worksong", *args)
    assert program.wait() == 0, program.output
    return program.output


def test_every_job_has_a_context_of_its_own() -> None:
    # Given an application that counts the contexts it has left
    jobs, left, seen = Worksong(), list[Any](), list[Any]()
    app = Flask("shop")
    app.teardown_appcontext(left.append)
    jobs.init_app(app)

    def plain(number: int) -> None:
        assert not hasattr(g, "number")
        g.number = number
        seen.append((current_app.name, g.number))

    async def coroutine(number: int) -> None:
        plain(number)

    for handler in (plain, coroutine):
        job = jobs.worker.register(handler.__name__, handler)
        job.perform(1)
        job.perform(2)
    # When four jobs run, in threads and in the loop
    assert drain(jobs.worker).done == 4
    # Then each had the application, and nothing of the others
    assert sorted(seen) == [("shop", 1), ("shop", 1), ("shop", 2), ("shop", 2)]
    assert left == [None] * 4


def test_inline_a_job_has_it_as_well() -> None:
    jobs = Worksong(Flask("shop"))
    name = jobs.worker.register("name", lambda: current_app.name)
    with inline(jobs.worker) as ran:
        name.perform()
    assert getattr(ran[0].outcome, "value", None) == "shop"


def test_the_configuration_says_where_the_jobs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def connected(**config: str) -> Worker:
        app = Flask("shop")
        app.config.update(config)
        return Worksong(app, Worker(name="own")).worker

    monkeypatch.setenv("WORKSONG_URL", "sqlite:///variable.db")
    assert connected(WORKSONG_URL="sqlite:///config.db", WORKSONG_NAME="shop").url == "sqlite:///config.db"
    assert connected(WORKSONG_NAME="shop").url == "sqlite:///variable.db"
    monkeypatch.delenv("WORKSONG_URL")
    assert (connected().url, connected().name) == ("memory://", "own")
    assert connected(WORKSONG_NAME="shop").name == "shop"


def test_two_applications_may_say_the_same_and_not_two_things() -> None:
    jobs, app = Worksong(), Flask("shop")
    jobs.worker.register("note", lambda: None).perform()
    jobs.init_app(app)
    jobs.init_app(Flask("shop"))
    app.config["WORKSONG_URL"] = "sqlite:///other.db"
    with pytest.raises(ConfigError, match="already uses memory://"):
        jobs.init_app(app)


@pytest.mark.parametrize("path", ["jobs", "/", "/jobs/"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    app = Flask("shop")
    app.config["WORKSONG_CONSOLE"] = path
    with pytest.raises(ConfigError, match="a path like /jobs"):
        Worksong(app)


def test_a_job_without_an_application_says_what_is_missing() -> None:
    jobs = Worksong()
    jobs.worker.register("note", lambda: None, max_fails=1).perform()
    assert drain(jobs.worker).buried == 1
    assert "init_app(app) was not called yet" in jobs.worker.admin.dead()[0].error


def test_the_worker_of_an_application_is_found_by_its_name() -> None:
    app = Flask("shop")
    with app.app_context(), pytest.raises(ConfigError, match="'shop' has no worker"):
        _ = contrib.worker
    jobs = Worksong(app)
    with app.app_context():
        assert contrib.worker is jobs.worker
