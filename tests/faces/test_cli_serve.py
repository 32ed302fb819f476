"""`worksong serve`: the job service as a program."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx2
import pytest

import servers
from faces.stage import Cli, Program, Start
from patience import PATIENCE, until
from worksong.faces.grpc.wire import job_pb2, task_pb2
from worksong.service.passwords import hashed, line_of

APP = """
import asyncio
from pathlib import Path

from worksong import Worker

worker = Worker(name="shop")

@worker.task("double")
async def double(params, previous=None):
    return 2 * params["n"]

@worker.task("wait")
async def wait(params):
    Path("begun").touch()
    while not Path("may-end").exists():
        await asyncio.sleep(0.01)
    Path("ended").touch()
"""
ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-shop-0123"
LOOKER = "a-token-to-look-with-0123"
PASSWORD = "correct horse battery"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The directory of an application."""
    (tmp_path / "shop_app.py").write_text(APP)
    (tmp_path / "apart.toml").write_text('records = "sqlite:///records.db"\n')
    return tmp_path


class Place:
    """Where a program serves."""

    def __init__(self, program: Program) -> None:
        line = program.line("worksong service:")
        self.http, self.grpc = (_found(rf"{scheme}s?://[^ /]+", line) for scheme in ("http", "grpc"))

    def ask(self, method: str, path: str, body: Any = None, token: str = "", **options: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.request(method, f"{self.http}{path}", json=body, headers=headers, timeout=PATIENCE, **options)

    def result(self, job_id: str) -> Any:
        return until(lambda: self.ask("GET", f"/api/jobs/{job_id}/results"), met=is_ok).json()["metadata"]

    def call(self, request: Any, path: str, answer: Any, token: str = "") -> Any:
        """Over gRPC."""
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        with grpc.insecure_channel(self.grpc.removeprefix("grpc://")) as channel:
            asked = channel.unary_unary(
                path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )
            return asked(request, metadata=metadata, timeout=PATIENCE)


def is_ok(answer: httpx2.Response) -> bool:
    return answer.status_code == 200


def _found(pattern: str, line: str) -> str:
    found = re.search(pattern, line)
    return found[0] if found else ""


def test_it_serves_and_runs_jobs_until_told_to_stop(app: Path, start: Start) -> None:
    # Given a service on ports that are free
    program = start("serve", "shop_app:worker", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    place = Place(program)
    # When jobs are created over HTTP and over gRPC
    made = place.ask("POST", "/api/jobs", {"name": "a", "task_name": "double", "task_params": {"n": 4}})
    assert made.status_code == 202, made.text
    request = job_pb2.CreateJobRequest(name="b", task_name="double", task_params={"n": 5})
    other = place.call(request, "/job.Job/Create", job_pb2.CreateJobResponse)
    # Then the worker inside runs both
    assert (place.result(made.json()["id"]), place.result(other.id)) == (8, 10)
    # And what it did is told to Prometheus
    told = until(
        lambda: place.ask("GET", "/metrics"), met=lambda page: 'outcome="done",queue="default"} 2.0' in page.text
    )
    assert told.headers["content-type"].startswith("text/plain")
    # And the console is under the same roof
    assert "shop" in until(lambda: place.ask("GET", "/"), met=is_ok).text

    # When it is told to stop while a job runs
    place.ask("POST", "/api/jobs", {"name": "c", "task_name": "wait"})
    until((app / "begun").exists, "the job's begin")
    program.send(signal.SIGTERM)
    program.line("stopping")
    (app / "may-end").touch()
    # Then the job runs to its end
    assert program.wait() == 0, program.output
    assert (app / "ended").exists(), program.output


def test_tokens_open_both_faces(app: Path, start: Start) -> None:
    # Given a configuration with a token in a file, and another one of which the digest is known
    (app / "shop.token").write_text(f"{TOKEN}\n")
    digest = subprocess.run(["sha256sum"], input=LOOKER, text=True, capture_output=True, check=True).stdout.split()[0]
    (app / "service.yaml").write_text(
        json.dumps(
            {
                "http": {"address": "0.0.0.0:0"},
                "grpc": {"address": 0},
                "tokens": [
                    {"name": "shop", "file": "shop.token", "scopes": ["enqueue", "read"]},
                    {"name": "looker", "digest": digest, "scopes": ["read"]},
                ],
            }
        )
    )
    # And somebody who looks after the jobs with a password
    (app / "users.txt").write_text(line_of("eve", "operator", hashed(PASSWORD)) + "\n")
    place = Place(start("serve", "shop_app:worker", "--config", "service.yaml", "--users", "users.txt"))
    place.http = place.http.replace("0.0.0.0", "127.0.0.1")
    # Then each may do what its scopes say, on HTTP
    job = {"name": "a", "task_name": "double", "task_params": {"n": 4}}
    told = [place.ask("POST", "/api/jobs", job, token).status_code for token in ("", "x" * 20, LOOKER, TOKEN)]
    assert told == [401, 401, 403, 202]
    assert place.ask("GET", "/api/jobs", token=LOOKER).status_code == 200
    assert [place.ask("GET", "/metrics", token=token).status_code for token in ("", LOOKER)] == [401, 200]
    # And on gRPC
    answer = place.call(task_pb2.GetTasksRequest(), "/task.Task/GetTasks", task_pb2.GetTasksResponse, LOOKER)
    assert list(answer.tasks) == ["double", "wait"]
    for token, code in (("", grpc.StatusCode.UNAUTHENTICATED), (LOOKER, grpc.StatusCode.PERMISSION_DENIED)):
        with pytest.raises(grpc.RpcError) as refused:
            place.call(job_pb2.CreateJobRequest(), "/job.Job/Create", job_pb2.CreateJobResponse, token)
        assert refused.value.code() is code
    # And who has a password is let into the console
    eve = httpx2.BasicAuth("eve", PASSWORD)
    counts = until(lambda: httpx2.get(f"{place.http}/api/v1/counts", auth=eve, timeout=PATIENCE), met=is_ok)
    assert counts.json()["namespace"] == "shop"


def test_both_faces_speak_tls(app: Path, start: Start) -> None:
    if not servers.self_signed(app):
        pytest.skip("openssl is not installed")
    (app / "service.toml").write_text('tls = {certificate = "certificate.pem", key = "key.pem"}\n')
    place = Place(start("serve", "shop_app:worker", "--config", "service.toml", "--http", "0", "--grpc", "0"))
    assert place.http.startswith("https://")
    assert place.grpc.startswith("grpcs://")
    # When a client asks that trusts the certificate
    trust = ssl.create_default_context(cafile=app / "certificate.pem")
    answer = httpx2.get(f"{place.http.replace('127.0.0.1', 'localhost')}/api/tasks", verify=trust, timeout=PATIENCE)
    assert answer.json() == {"tasks": ["double", "wait"]}
    credentials = grpc.ssl_channel_credentials((app / "certificate.pem").read_bytes())
    where = place.grpc.removeprefix("grpcs://").replace("127.0.0.1", "localhost")
    with grpc.secure_channel(where, credentials) as channel:
        ask = channel.unary_unary(
            "/task.Task/GetTasks",
            request_serializer=task_pb2.GetTasksRequest.SerializeToString,
            response_deserializer=task_pb2.GetTasksResponse.FromString,
        )
        assert list(ask(task_pb2.GetTasksRequest(), timeout=PATIENCE).tasks) == ["double", "wait"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--http", "0.0.0.0:0"], "0.0.0.0:0 is open to other machines: name tokens"),
        (["--grpc", "10.1.2.3:1"], "10.1.2.3:1 is open to other machines"),
        (["--http", "off", "--grpc", "off"], "neither HTTP nor gRPC"),
        (["--no-worker"], "--no-worker: workers apart must keep the same records"),
        (["--no-worker", "--config", "apart.toml"], "--no-worker: the queue in memory://"),
        (["--config", "missing.yaml"], "missing.yaml cannot be read"),
        (["--url", "faktory://localhost"], "records = URL in the configuration"),
    ],
)
def test_what_cannot_be_served_is_refused(
    bare: Cli, app: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], says: str
) -> None:
    monkeypatch.chdir(app)
    monkeypatch.syspath_prepend(app)
    refused = bare("serve", "shop_app:worker", *options)
    sys.modules.pop("shop_app", None)
    assert refused.exit_code == 1
    assert says in refused.stderr
    assert "Traceback" not in refused.output


def test_an_address_that_is_taken_is_named(app: Path, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        for options in (["--http", where, "--grpc", "off"], ["--http", "off", "--grpc", where]):
            refused = start("serve", "shop_app:worker", *options)
            assert refused.wait() == 1
            assert f"cannot listen on {where}" in refused.output


def test_without_grpc_it_serves_http_and_says_so(app: Path, bare: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(app)
    monkeypatch.syspath_prepend(app)
    monkeypatch.setitem(sys.modules, "grpc_health", None)
    # Nobody asked for gRPC: it is told, and HTTP, which was switched off, is missed
    refused = bare("serve", "shop_app:worker", "--http", "off")
    assert "pip install 'worksong[grpc]'" in refused.stderr
    assert "neither HTTP nor gRPC" in refused.stderr
    # Somebody asked
    refused = bare("serve", "shop_app:worker", "--grpc", "0")
    sys.modules.pop("shop_app", None)
    assert refused.exit_code == 1
    assert "gRPC needs the package 'grpc_health': pip install 'worksong[grpc]'" in refused.stderr


VALETS = {
    "server": {"protocol": "http"},
    "job_queue": {"option": "redis", "redis": {"key_prefix": "apart"}},
    "worker_pool": {"workers": 2},
    "storage": {"option": "redis", "redis": {"key_prefix": "apart"}},
    "timeout_unit": "second",
    "logging_format": "json",
}


def test_a_worker_apart_takes_the_same_configuration(
    app: Path, start: Start, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given Valet's configuration, a service that runs no jobs, and a worker beside it
    monkeypatch.setenv("REDIS_URL", redis_url)
    (app / "config.yaml").write_text(json.dumps(VALETS).replace("apart", f"apart-{uuid4().hex}"))
    place = Place(start("serve", "shop_app:worker", "--config", "config.yaml", "--http", "0", "--no-worker"))
    start("run", "shop_app:worker", "--config", "config.yaml")
    # When a job is created there, it is run here
    made = place.ask("POST", "/api/jobs", {"name": "a", "task_name": "double", "task_params": {"n": 4}})
    assert place.result(made.json()["id"]) == 8
    assert place.grpc == ""


def test_the_lines_of_the_readme_work_as_typed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not on the PATH")
    # Given the example, served as `make serve` does
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = str(ROOT / "examples" / "service.yaml")
    options = ("--http", "127.0.0.1:0", "--grpc", "0")
    place = Place(start("serve", "examples.service:worker", "--config", settings, *options))
    # When its lines are typed
    (lines,) = re.findall(r"^```sh\n(curl .*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    typed = lines.replace("127.0.0.1:8080", place.http.removeprefix("http://")).replace(
        "curl ", "curl --fail-with-body "
    )
    told = subprocess.run(["sh", "-ec", typed], capture_output=True, text=True, timeout=PATIENCE, check=False)
    # Then all are answered
    assert told.returncode == 0, told.stdout + told.stderr
    assert '{"tasks":["count","fetch","greet"]}' in told.stdout
    assert told.stdout.count('"task_params":{"name":"Ada"}') == 2
