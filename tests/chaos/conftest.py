"""What the chaos is given: a theatre, a fleet, a producer, chance with a seed, and a pen for certificates."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

import servers
from chaos import certificates
from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.producer import Producer
from chaos.scale import SCALE, SEED
from chaos.theatre import EVERYWHERE, Theatre
from chaos.theatre_rabbitmq import RabbitmqTheatre
from chaos.theatre_redis import RedisTheatre
from chaos.theatre_resque import ResqueTheatre
from chaos.theatre_servers import MariadbTheatre, PostgresTheatre, Process
from chaos.theatre_sqlite import SqliteTheatre

ISSUED = pytest.StashKey[list[dict[str, Any]]]()
PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--certificates", metavar="FILE", help="add what the chaos measured to this JSON file")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = (yield).get_result()  # type: ignore[attr-defined]
    if call.when == "call":
        item.stash[PASSED] = report.passed


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--certificates", None)
    issued = session.config.stash.get(ISSUED, [])
    if file and issued:
        certificates.merge(Path(file), issued)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """All that is random in a test comes from here; a failure shows how to repeat it."""
    print(f"seed {SEED}, again with: CHAOS_SEED={SEED} CHAOS_SCALE={SCALE:g} .venv/bin/pytest '{request.node.nodeid}'")
    return random.Random(SEED)


@pytest.fixture(params=EVERYWHERE)
async def theatre(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Theatre]:
    """A store of the test's own, which may be struck as the scene wants."""
    directory = tmp_path / "server"
    directory.mkdir()
    try:
        async with _opened(request, directory) as theatre:
            yield theatre
    except servers.Missing as missing:
        _do_without(missing)


def _opened(request: pytest.FixtureRequest, directory: Path) -> AbstractAsyncContextManager[Theatre]:
    match request.param:
        case "redis":
            return RedisTheatre.open(directory)
        case "resque":
            return ResqueTheatre.open(directory)
        case "sqlite":
            return SqliteTheatre.open(directory)
        case "postgres":
            return PostgresTheatre.open(request.getfixturevalue("postgres_process"))
        case "mariadb":
            return MariadbTheatre.open(request.getfixturevalue("mariadb_process"))
        case "rabbitmq":
            return RabbitmqTheatre.open(request.getfixturevalue("rabbitmq_server"))
        case unknown:
            raise AssertionError(f"there is no theatre {unknown!r}")


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[Process]:
    """A PostgreSQL of the chaos alone: the one that other tests use is never struck."""
    yield from _kept(servers.postgres("-c", "recovery_init_sync_method=syncfs"))  # or it is slow to come back


@pytest.fixture(scope="session")
def mariadb_process() -> Iterator[Process]:
    """A MariaDB of the chaos alone."""
    yield from _kept(servers.mariadb())


def _kept(server: AbstractContextManager[servers.Database]) -> Iterator[Process]:
    with ExitStack() as running:
        try:
            process = Process(running.enter_context(server))
        except servers.Missing as missing:
            _do_without(missing)
        running.callback(process.kill)
        yield process


def _do_without(missing: servers.Missing) -> NoReturn:
    if servers.required():
        pytest.fail(f"no server: {missing}", pytrace=False)
    pytest.skip(f"no server: {missing}")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the ledger is, and what handlers wait for."""
    directory = tmp_path / "ledger"
    directory.mkdir()
    return directory


@pytest.fixture
async def fleet(theatre: Theatre, place: Path, chance: random.Random) -> AsyncIterator[Fleet]:
    async with Fleet.open(theatre.url, place, chance) as fleet:
        yield fleet


@pytest.fixture
async def producer(theatre: Theatre, place: Path) -> AsyncIterator[Producer]:
    producer = Producer(theatre.url, place)
    yield producer
    await producer.close()


@pytest.fixture
def certify(request: pytest.FixtureRequest) -> Iterator[Certify]:
    """`certify("A1", lost=0, recovery_p95=14.2)`: what this test measured. It counts if the test passes.

    A number of seconds is a float, a count an int, anything else a text. `backend` is the theatre's name unless given,
    and then `versions` what was at work beside Python.
    """
    written: list[dict[str, Any]] = []

    def certify(name: str, *, backend: str = "", versions: str = "", **figures: float | str) -> None:
        theatre = request.getfixturevalue("theatre") if "theatre" in request.fixturenames else None
        chosen = backend or (theatre.name if theatre else "`redis://`, network and server")
        with_what = theatre.version if theatre and not backend else versions
        written.append(certificates.issue(name, chosen, SCALE, with_what, figures))
        print(f"{name} on {chosen}: {figures}")

    yield certify
    if request.node.stash.get(PASSED, False):
        request.config.stash.setdefault(ISSUED, []).extend(written)
