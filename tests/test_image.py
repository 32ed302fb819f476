"""The image of the Dockerfile: its command as the first process of containers that are started and stopped.

`make image` builds it, and runs these.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import yaml

import worksong
from faces.stage import Program
from frameworks.stage import Site
from patience import PATIENCE, until

ROOT = Path(__file__).parents[1]
IMAGE = os.environ.get("WORKSONG_IMAGE", "")
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
HOME = "/home/worksong"
EXAMPLES = f"{ROOT / 'examples'}:{HOME}/examples:ro"
TOKEN = "a-token-of-16-characters"
LONG = """
from pathlib import Path
from time import sleep

from worksong import Worker

worker = Worker(name="long")


@worker.job()
def held() -> None:
    Path("place/begun").touch()
    while not Path("place/may-end").exists():
        sleep(0.01)
    Path("place/ended").touch()
"""

pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="no image was built: make image"),
    pytest.mark.timeout(10 * PATIENCE),
]


class Container(Program):
    """A container, which hears signals as any process does."""

    def __init__(self, args: Sequence[str], *, cwd: Path, options: Sequence[str]) -> None:
        self._name = f"worksong-{uuid4().hex}"
        command = ("podman", "run", "--rm", "--name", self._name, *options, IMAGE)
        super().__init__(args, cwd=cwd, url="", command=command)

    def tell_to_stop(self) -> None:
        """As `docker stop` does it: TERM to the first process."""
        subprocess.run(["podman", "kill", "--signal", "TERM", self._name], check=True, capture_output=True)

    def stop(self) -> int:
        """The exit code of the first process."""
        self.tell_to_stop()
        return self.wait()


Run = Callable[..., Container]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts a container: its arguments, its volumes, and its environment by name."""
    started: list[Container] = []

    def begin(*args: str, volumes: Sequence[str] = (EXAMPLES,), **env: str) -> Container:
        lent = [f"--volume={volume}" for volume in volumes]
        said = [f"--env={name}={value}" for name, value in env.items()]
        started.append(Container(args, cwd=tmp_path, options=[*lent, *said]))
        return started[-1]

    yield begin
    for container in started:
        container.end()


def command(service: str) -> list[str]:
    """What a service of compose.yaml runs."""
    return shlex.split(SERVICES[service]["command"])


def test_its_command_is_worksong(run: Run) -> None:
    asked = run("--version")
    assert asked.wait() == 0
    assert worksong.__version__ in asked.output


def test_the_worker_and_the_console_of_compose_run_and_stop_in_it(run: Run, redis_url: str) -> None:
    # Given the worker of compose.yaml, on a server of the tests
    shop = {"WORKSONG_URL": redis_url}
    worker = run(*command("worker"), **shop)
    worker.line("starts examples.shop:worker")
    # When a job is enqueued as its head says, then the worker runs it
    enqueued = run("enqueue", "charge_card", "--args", '{"order": 1, "cents": 4900}', "--namespace", "shop", **shop)
    assert enqueued.wait() == 0, enqueued.output
    worker.line("charge_card took")
    # And the console shows the job type to whoever has the token
    listens = [word.replace(":4747", ":0") for word in command("console")]
    console = run(*listens, WORKSONG_UI_TOKEN=TOKEN, **shop)
    site = Site(console, "http://")
    site.address = site.address.replace("0.0.0.0", "127.0.0.1")
    answer = until(lambda: page(site), met=lambda answer: answer.status_code == 200)
    assert "charge_card" in answer.text
    # And both end when they are told to
    assert console.stop() == 0, console.output
    assert worker.stop() == 0, worker.output
    assert "stopped after" in worker.output


def page(site: Site) -> httpx2.Response:
    return site.get("/queues", headers={"Authorization": f"Bearer {TOKEN}"})


def test_a_job_that_runs_at_the_stop_comes_to_its_end(run: Run, tmp_path: Path) -> None:
    # Given a worker whose job has begun
    (tmp_path / "long.py").write_text(LONG)
    tmp_path.chmod(0o777)
    place = f"{tmp_path}:{HOME}/place"
    url = f"sqlite:///{HOME}/place/jobs.db"
    code = {"PYTHONPATH": f"{HOME}/place", "WORKSONG_URL": url}
    enqueued = run("enqueue", "held", "--namespace", "long", volumes=[place], **code)
    assert enqueued.wait() == 0, enqueued.output
    worker = run("run", "long:worker", "--grace", "1h", volumes=[place], **code)
    until((tmp_path / "begun").exists, "the job has begun")
    # When it is told to stop, and the job may end
    worker.tell_to_stop()
    worker.line("stopping")
    assert not (tmp_path / "ended").exists()
    (tmp_path / "may-end").touch()
    # Then it ends when the job has
    assert worker.wait() == 0, worker.output
    assert (tmp_path / "ended").exists()


def test_the_service_answers_in_it(run: Run) -> None:
    arguments = ("serve", "examples.service:worker", "--http", "127.0.0.1:0", "--grpc", "off")
    service = run(*arguments)
    site = Site(service, "worksong service:")
    job = {"name": "a page", "task_name": "count", "task_params": {"text": "to be or not to be"}}
    created = site.post("/api/jobs", json=job)
    assert created.status_code == 202, created.text
    results = f"/api/jobs/{created.json()['id']}/results"
    found = until(lambda: site.get(results), met=lambda answer: answer.status_code == 200)
    assert found.json()["metadata"] == 6
    assert service.stop() == 0, service.output
