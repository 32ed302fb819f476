"""What the repository says about deploying: files that tools can read, with commands and paths that there are."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from worksong.faces.cli import worksong as commands
from worksong.faces.cli.app import load
from worksong.faces.cli.moments import duration
from worksong.ports.backend import PoolView
from worksong.service.fields import plain
from worksong.worker import GRACE

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
MARGIN = 10.0
"""Seconds beyond the grace that the guide asks for."""
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def understood(args: Sequence[str]) -> dict[str, Any]:
    """The options of a command of `worksong`, which must take them."""
    command = commands.get_command(click.Context(commands), args[0])
    assert command, args
    return command.make_context(args[0], list(args[1:])).params


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each with its arguments."""
    lines = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


# containers


@pytest.mark.parametrize("text", [(ROOT / "Dockerfile").read_text(), *blocks("dockerfile")], ids=["own", "guide"])
def test_an_image_runs_the_command_as_its_first_process_and_not_as_root(text: str) -> None:
    steps = instructions(text)
    assert {name for name, _ in steps} <= INSTRUCTIONS
    said = dict(steps)
    assert json.loads(said["ENTRYPOINT"]) == ["worksong"]
    assert said["USER"] not in ("root", "0")
    arguments = json.loads(said["CMD"])
    assert arguments == ["--help"] or understood(arguments)


def test_all_that_the_image_copies_is_there() -> None:
    copied = [args.split()[:-1] for name, args in instructions((ROOT / "Dockerfile").read_text()) if name == "COPY"]
    own = [source for sources in copied if not sources[0].startswith("--from") for source in sources]
    assert own
    assert [source for source in own if not (ROOT / source).exists()] == []
    assert {f"!{source}" for source in own} == set((ROOT / ".dockerignore").read_text().split()) - {"*"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.search(r"'\.\[(\w+)\]'", (ROOT / "Dockerfile").read_text())
    assert asked
    assert asked[1] in extras


@pytest.mark.parametrize("service", ["worker", "console"])
def test_the_services_run_commands_that_there_are_on_an_example_that_there_is(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("WORKSONG_UI_TOKEN", "a-token-of-16-characters")
    said = understood(shlex.split(COMPOSE["services"][service]["command"]))
    assert load(said["app"]).name == "shop"
    assert COMPOSE["services"][service]["environment"]["WORKSONG_URL"] == "redis://redis:6379/0"


def test_the_lines_at_the_head_of_the_services_work_one_after_the_other() -> None:
    # Given what is to be typed, and the variables that the file cannot be read without
    head = (ROOT / "compose.yaml").read_text().partition("\n\n")[0]
    typed = re.findall(r"^#   (.*)$", head, re.MULTILINE)
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text()))
    # Then all are there for every command
    exports = [line for line in typed if line.startswith("export ")]
    assert {line.split()[1].partition("=")[0] for line in exports} == needed
    assert typed[: len(exports)] == exports
    assert all(line.startswith("docker compose ") for line in typed[len(exports) :])


def test_a_container_has_longer_than_the_grace_of_its_worker() -> None:
    worker = COMPOSE["services"]["worker"]
    grace = understood(shlex.split(worker["command"]))["grace"]
    assert grace == GRACE
    assert duration(worker["stop_grace_period"]) >= grace + MARGIN


def test_jobs_in_redis_are_written_down_and_none_is_thrown_out() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert COMPOSE["services"]["redis"]["volumes"] == ["jobs:/data"]
    assert "jobs" in COMPOSE["volumes"]


# Kubernetes


def test_a_pod_has_longer_than_the_grace_of_its_worker_and_a_probe_that_is_a_command() -> None:
    (deployment,) = [yaml.safe_load(block) for block in blocks("yaml")]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] >= understood(container["args"])["grace"] + MARGIN
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    shell = container["readinessProbe"]["exec"]["command"]
    assert shell[:2] == ["sh", "-c"]
    words = shlex.split(shell[2].partition("|")[0])
    assert words[0] == "worksong"
    assert understood(words[1:])["as_json"]


def test_the_probe_finds_the_host_of_a_worker_in_the_listing() -> None:
    # Given what `worksong pools --json` prints of a pool on a pod
    (deployment,) = [yaml.safe_load(block) for block in blocks("yaml")]
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["exec"]["command"][2]
    pool = PoolView(id="a", heartbeat_at=0, started_at=0, handlers=(), concurrency=1, host="shop-worker-7d9", pid=1)
    listed = json.dumps([plain(pool)], indent=2)
    # When the rest of the probe reads it there, and on another pod
    for host, found in (("shop-worker-7d9", True), ("shop-worker-7", False)):
        search = subprocess.run(
            ["sh", "-c", probe.partition("|")[2]],
            input=listed,
            text=True,
            env={**os.environ, "HOSTNAME": host},
            check=False,
        )
        assert (search.returncode == 0) is found


# systemd


def test_the_unit_runs_a_command_that_there_is_and_waits_longer_than_its_grace() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(next(iter(blocks("ini"))))
    service = unit["Service"]
    program, *args = shlex.split(service["ExecStart"])
    assert Path(program).name == "worksong"
    assert float(service["TimeoutStopSec"]) >= understood(args)["grace"] + MARGIN
    assert service["KillMode"] == "mixed"
