"""Servers and peers for all tests; every skip with its reason; nothing may be left running."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

import gotool
import servers
from sql.stage import make_tables

S = TypeVar("S")
INTEROP = Path(__file__).parent / "interop"
NO_SERVER = "no server: "
"""How the reason of a skip begins when a server is missing."""
STAY = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Child processes of the standard library that end with this process, not before."""


# servers


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Redis]:
    """A redis-server for the whole run (`url`, `port`, `pid`, `directory`): use a namespace of your own in it."""
    with started(servers.redis()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: servers.Redis) -> str:
    """`redis://127.0.0.1:PORT/0` of the run's redis-server."""
    return redis_server.url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A Redis Cluster of one node, that holds all slots: it refuses keys of several slots like a large one."""
    with started(servers.redis_cluster()) as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Database]:
    """A PostgreSQL for the whole run (`url`, `port`, `pid`, `directory`), without our tables."""
    with started(servers.postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: servers.Database) -> str:
    """`postgresql://postgres@127.0.0.1:PORT/postgres`, with tables: use a namespace of your own in them."""
    asyncio.run(make_tables(postgres_server.url))
    return postgres_server.url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[servers.Database]:
    """A MariaDB for the whole run (`url`, `port`, `pid`, `directory`), without our tables.

    Instead of it the MySQL whose mysqld the environment variable WORKSONG_MYSQL names: see `make mysql`.
    """
    program = os.environ.get("WORKSONG_MYSQL")
    with started(servers.mysql(program) if program else servers.mariadb()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_url(mariadb_server: servers.Database) -> str:
    """`mariadb://root@127.0.0.1:PORT/worksong`, with tables: use a namespace of your own in them."""
    asyncio.run(make_tables(mariadb_server.url))
    return mariadb_server.url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[servers.Broker]:
    """A RabbitMQ for the whole run (`url`, `port`, `pid`, `directory`): use a namespace of your own in it."""
    with started(servers.rabbitmq()) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: servers.Broker) -> str:
    """`amqp://guest:guest@127.0.0.1:PORT/` of the run's RabbitMQ."""
    return rabbitmq_server.url


@contextmanager
def started(server: AbstractContextManager[S]) -> Iterator[S]:
    """A server for the whole run; who needs it is skipped, or fails, when it cannot be had."""
    with ExitStack() as running:
        try:
            started = running.enter_context(server)
        except servers.Missing as missing:
            _do_without(missing)
        yield started


def _do_without(missing: servers.Missing) -> NoReturn:
    if servers.required() and missing.program not in servers.DISPENSABLE:
        pytest.fail(f"{NO_SERVER}{missing}", pytrace=False)
    pytest.skip(f"{NO_SERVER}{missing}")


# Go and the programs written in it

GoBuild = Callable[[Path], Path]


@pytest.fixture(scope="session")
def go() -> str:
    """The go command."""
    return shutil.which("go") or pytest.skip("go is not on the PATH")


@pytest.fixture(scope="session")
def go_binary(go: str, tmp_path_factory: pytest.TempPathFactory) -> GoBuild:
    """Builds the Go package of a directory, once in a run; answers where the program is, or raises `gotool.Refused`."""
    built: dict[Path, Path] = {}

    def build(package: Path) -> Path:
        if package not in built:
            program = tmp_path_factory.mktemp("go") / package.name
            gotool.build(go, package, program)
            built[package] = program
        return built[package]

    return build


GoPeer = Callable[[Path, str, str], Path]


@pytest.fixture(scope="session")
def go_peer(go: str, go_binary: GoBuild) -> GoPeer:
    """Builds the real peer of a directory, of which the name and the target that asks for it are given; else skips.

    Its modules must be had from the network, and compiling them takes up to a minute of a processor, once: too long for
    whoever did not ask for it.
    """

    def build(package: Path, name: str, target: str) -> Path:
        if not os.environ.get(f"WORKSONG_{target.upper()}") and not gotool.has_built(go, package):
            pytest.skip(f"{name} was not compiled here before: make {target}")
        try:
            return go_binary(package)
        except gotool.Refused as refused:
            pytest.skip(f"{name} cannot be built here: {refused}")

    return build


@pytest.fixture(scope="session")
def gopeer(go_peer: GoPeer) -> Path:
    """The program around the real gocraft/work."""
    return go_peer(INTEROP / "go", "gopeer", "interop")


@pytest.fixture(scope="session")
def faktory_program(go_peer: GoPeer) -> Path:
    """The real Faktory, and workers and producers in Go on it."""
    return go_peer(INTEROP / "faktory", "the real Faktory", "faktory")


@pytest.fixture(scope="session")
def faktory_server(request: pytest.FixtureRequest) -> Iterator[servers.Faktory | None]:
    """The real Faktory for the whole run; it moves what is due when it is told. None: tests take a stand-in for it."""
    server = None
    with ExitStack() as running:
        with suppress(pytest.skip.Exception, servers.Missing):
            program = request.getfixturevalue("faktory_program")
            server = running.enter_context(servers.faktory(program, "-still", "-wait", "50ms"))
        yield server


# nothing is left behind


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After the last test: no thread that would keep the process alive, and no child process."""
    threads, children = set(threading.enumerate()), _children()
    yield
    left = [repr(thread) for thread in threading.enumerate() if thread not in threads and not thread.daemon]
    left += [command for pid, command in _children().items() if pid not in children]
    assert not left, f"left running by some test: {'; '.join(left)}"


def _children() -> dict[int, str]:
    """Our child processes: pid -> command line. Nothing where there is no /proc."""
    found: dict[int, str] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = status.with_name("cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it has just ended
            continue
        if parent == os.getpid() and not any(word in command for word in STAY):
            found[int(status.parent.name)] = command or f"(ended, and nobody waited for it: {status.parent.name})"
    return found


# what was skipped


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every reason for which something was skipped, and how often."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report) for report in reports)
    if not reasons:
        return
    terminalreporter.section("skipped")
    missing = sorted(reason.removeprefix(NO_SERVER) for reason in reasons if reason.startswith(NO_SERVER))
    if missing:
        terminalreporter.line(f"skipped servers: {'; '.join(missing)}")
    for reason, times in sorted(reasons.items()):
        terminalreporter.line(f"{times:5} x {reason}")


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    text = str(where[2]) if isinstance(where, tuple) else str(where)
    return text.removeprefix("Skipped: ")
