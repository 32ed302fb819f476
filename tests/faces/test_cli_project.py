"""The command line of a project whose worker need not be named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from worksong import ConfigError, Job, Worker
from worksong.faces.cli.app import directory
from worksong.faces.cli.project import ProjectCommands, namespace_of

APP = """
from worksong import Worker

worker = Worker("sqlite:///{place}/jobs.db", name="shop")
worker.register("report", lambda: print("reported"))
worker.periodic("@hourly", "report")
"""


class Project:
    """A project in a directory, with its commands."""

    def __init__(self, place: Path, name: str) -> None:
        (place / f"{name}.py").write_text(APP.format(place=place))
        self.worker = Worker(f"sqlite:///{place}/jobs.db", name="shop")
        self._commands = ProjectCommands("worksong", f"{name}:worker", lambda: self.worker)

    def __call__(self, *args: str) -> Result:
        # A variable that leads elsewhere is in the environment
        return CliRunner().invoke(self._commands, args, env={"WORKSONG_URL": "redis://127.0.0.1:1/0"})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Project(tmp_path, f"project_{abs(hash(request.node.name))}")


def test_its_store_is_asked_whatever_the_variable_says(project: Project) -> None:
    assert project("enqueue", "report").exit_code == 0
    assert json.loads(project("status", "--json").stdout)["queued"] == 1


def test_its_worker_may_be_named_all_the_same(project: Project) -> None:
    shown = project("run", "--help")
    assert "[APP]" in shown.output
    assert "no module 'elsewhere'" in project("run", "elsewhere:worker").stderr


def test_its_periodic_jobs_are_listed_and_an_expression_is_one_of_nobody(project: Project) -> None:
    assert "report" in project("cron").output
    alone = project("cron", "--spec", "0 9 * * *", "--json")
    assert alone.exit_code == 0, alone.output
    assert len(json.loads(alone.stdout)) == 5


def test_its_source_is_where_the_command_was_given(project: Project, tmp_path: Path) -> None:
    assert directory("worksong.contrib.django:worker") == tmp_path


def test_another_namespace_may_be_asked(project: Project) -> None:
    project.worker.register("report", lambda: None)
    project.worker.perform(Job("report"))
    assert json.loads(project("status", "--json", "--namespace", "other").stdout)["queued"] == 0
    assert json.loads(project("status", "--json").stdout)["queued"] == 1
    project.worker.stop()


def test_a_project_that_cannot_say_its_worker_says_why() -> None:
    def refuse() -> Worker:
        raise ConfigError("nothing says where the jobs are")

    refused = CliRunner().invoke(ProjectCommands("worksong", "nowhere:worker", refuse), ["status"])
    assert refused.exit_code == 1
    assert "nothing says where the jobs are" in refused.stderr


@pytest.mark.parametrize(
    ("url", "namespace"),
    [("redis://r/0", "shop"), ("redis://r/0?namespace=own", None), ("resque+redis://r/0", None), ("amqp://r/", None)],
)
def test_the_name_of_a_worker_is_a_namespace_where_nothing_else_is(url: str, namespace: str | None) -> None:
    assert namespace_of(url, "shop") == namespace
