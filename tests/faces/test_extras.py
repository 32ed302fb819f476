"""What an extra brings is enough for what it is for: nothing asks for a package that only another one brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from patience import PATIENCE

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
NEEDED_HERE = {"dev", "docs"}
"""Extras for whoever works on worksong."""
ALONE = """
import sys

MISSING = {missing}


class Missing:
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Missing())
{program}
"""
COMMAND = "from worksong.faces.cli import main\nmain()"
APP = """
from worksong import Worker

worker = Worker(name="shop")


@worker.job()
def pack(order: int) -> None:
    print("packed", order)
"""


def packages(*extras: str) -> set[str]:
    """The distributions that these extras name."""
    found = set()
    for extra in extras:
        for requirement in EXTRAS[extra]:
            name = re.split(r"[\[ ><=;]", requirement, maxsplit=1)[0]
            more = re.match(r"worksong\[(.*)\]", requirement)
            found |= packages(*more[1].split(",")) if more else {name}
    return found


@cache
def missing(extras: tuple[str, ...]) -> set[str]:
    """The modules that all the other extras bring."""
    others = packages(*(EXTRAS.keys() - NEEDED_HERE)) - packages(*extras)
    return {module for module, owners in packages_distributions().items() if others & set(map(str.lower, owners))}


def run(extras: tuple[str, ...], program: str, *args: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A program of its own, where nothing but these extras is installed."""
    text = ALONE.format(missing=missing(extras), program=program)
    env = {name: value for name, value in os.environ.items() if name != "WORKSONG_URL"}
    command, patience = [sys.executable, "-c", text, *args], 2 * PATIENCE
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=patience, check=False)


def test_what_is_missing_is_missing() -> None:
    assert missing(("cli", "redis")) >= {"starlette", "google", "textual", "asyncpg", "uvloop"}
    assert not missing(("cli", "redis")) & {"click", "yaml", "redis", "msgspec"}


def test_the_library_needs_none(tmp_path: Path) -> None:
    program = (
        f"{APP}\nfrom worksong.testing import inline\nworker.connect('sqlite:///jobs.db')\n"
        "with inline(worker):\n    pack.perform(1)\npack.perform(2)\nworker.run(burst=True)"
    )
    ran = run((), program, place=tmp_path)
    assert ran.stdout.splitlines() == ["packed 1", "packed 2"], ran.stderr
    assert "No module named 'redis'" in run((), "import redis", place=tmp_path).stderr


def test_every_command_tells_of_itself_with_the_command_line_alone(tmp_path: Path) -> None:
    program = (
        "from worksong.faces.cli import worksong\nfrom worksong.faces.cli.commands import SECTIONS\n"
        "for entry in [entry for entries in SECTIONS.values() for entry in entries]:\n"
        "    worksong.main([entry.name, '--help'], standalone_mode=False)"
    )
    told = run(("cli",), program, place=tmp_path)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("extras", "options"),
    [(("cli", "redis"), ()), (("cli", "metrics"), ("--metrics", "127.0.0.1:0"))],
    ids=["redis", "metrics"],
)
def test_a_worker_runs_with_these_extras(
    extras: tuple[str, ...], options: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given an application, and where its jobs are
    (tmp_path / "app.py").write_text(APP)
    url: str = request.getfixturevalue("redis_url") if "redis" in extras else "sqlite:///jobs.db"
    place = ("--url", url, "--namespace", tmp_path.name)
    # When a job is enqueued and a worker runs, by the command, then it runs the job
    enqueued = run(extras, COMMAND, "enqueue", "pack", "--args", '{"order": 7}', *place, place=tmp_path)
    assert enqueued.returncode == 0, enqueued.stderr
    ran = run(extras, COMMAND, "run", "app:worker", "--burst", *options, *place, place=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "packed 7" in ran.stdout


def test_the_first_program_of_the_readme_runs_as_it_says(tmp_path: Path) -> None:
    # Given the program, and the commands below it
    readme = (ROOT / "README.md").read_text()
    program, typed = re.findall(r"^```(?:python|sh)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[:2]
    (tmp_path / "app.py").write_text(program)
    installs, enqueues, runs = (line.partition("#")[0].strip() for line in typed.splitlines())
    extras = re.fullmatch(r"pip install 'worksong\[([a-z,]+)\]'", installs)
    assert extras
    # When they are typed, then the job runs
    assert enqueues == "python app.py"
    alone = tuple(extras[1].split(","))
    assert run(alone, "import runpy\nrunpy.run_path('app.py', run_name='__main__')", place=tmp_path).returncode == 0
    ran = run(alone, COMMAND, *runs.split()[1:], "--burst", place=tmp_path)
    assert ran.stdout == "to 123: hi\n", ran.stderr


@pytest.mark.parametrize(("command", "extra"), [("ui", "web"), ("serve app:worker", "service")])
def test_a_command_that_needs_more_names_the_extra(command: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    refused = run(("cli",), COMMAND, *command.split(), place=tmp_path)
    assert refused.returncode == 1
    assert f"pip install 'worksong[{extra}]'" in refused.stderr
