"""Workers of both languages on one queue, killed at random: nothing that was stored is lost, and the locks are right.

The peers are the real gocraft/work where it can be built, and the program that repeats its recorded commands.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from chaos.certificates import Certify
from chaos.fleet import Fleet
from chaos.ledger import Ledger, Line, judge
from chaos.producer import Producer
from chaos.scale import FULL, sized, timeout
from chaos.theatre import NAMESPACE, Theatre, on, quiet, stored
from gotool import BUILT
from patience import auntil
from worksong import Job
from worksong.domain.lifecycle import State
from worksong.wire.gocraft_keys import Keys

RECORDED = Path(__file__).parents[1] / "interop" / "recorded_peer.py"
SILENT = 0.0 if FULL else 10.0
"""As elsewhere, yet not so short that a peer, which is given twice the time, is dead between two of its beats."""
OBSERVED = "key of nobody: chaos:worker:"
"""What a slot did last: a Go pool that reaps leaves it to expire within a day, whoever wrote it."""
SECONDS = float(sized(60)) if FULL else 1.5

pytestmark = [pytest.mark.timeout(BUILT + timeout(400)), on("redis")]


class Peers:
    """Pools of the peer, whose lines of starts and ends go into files beside the ledger."""

    def __init__(self, name: str, command: list[str], url: str, directory: Path) -> None:
        self.name, self._command, self._directory = name, command, directory
        self._address = urlsplit(url)._replace(query="").geturl()
        self.running: list[asyncio.subprocess.Process] = []
        self._started = 0

    async def start(self) -> None:
        self._started += 1
        with (self._directory / f"peer-{self._started}.lines").open("wb") as lines:
            process = await asyncio.create_subprocess_exec(
                *(*self._command, "work", "-redis", self._address, "-ns", NAMESPACE),
                *("-jobs", "mixed", "-concurrency", "4"),
                stdin=asyncio.subprocess.PIPE,
                stdout=lines,
                stderr=asyncio.subprocess.DEVNULL,
            )
        self.running.append(process)

    async def begun(self) -> None:
        """Wait until each has beaten: what one fetched before, nobody could tell from a list of an older time."""
        await auntil(lambda: {process.pid for process in self.running} <= self._beating(), "a beat of each")

    def _beating(self) -> set[int]:
        """The processes whose beats are there: a Go pool says that it is ready before its first one."""
        pools = Keys(NAMESPACE).pool("*")
        with redis.Redis.from_url(self._address) as client:
            return {int(client.hget(pool, "pid") or 0) for pool in client.scan_iter(pools)}

    async def at_work(self) -> None:
        """Wait until one has ended a job."""
        await auntil(lambda: any(line.kind == "F" for line in self.lines()), "the end of a job")

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        self.running.remove(process)
        process.kill()
        await process.wait()

    async def stop_all(self) -> None:
        """They finish what they run, and end."""
        for process in self.running:
            assert process.stdin
            process.stdin.close()
        for process in self.running:
            async with asyncio.timeout(60):
                await process.wait()
        self.running.clear()

    def lines(self) -> list[Line]:
        """Their starts and ends, at no particular time."""
        found: list[Line] = []
        for file in sorted(self._directory.glob("peer-*.lines")):
            text = file.read_text()
            for row in text[: text.rfind("\n") + 1].splitlines():
                event = json.loads(row)
                kind = {"start": "S", "end": "F"}.get(event["event"])
                if kind:
                    found.append(Line(kind, event["id"], file.stem, 0.0, 1, file.stem))
        return found


@pytest.fixture(params=["go", "recorded"])
async def peers(request: pytest.FixtureRequest, theatre: Theatre, place: Path) -> AsyncIterator[Peers]:
    if request.param == "go":
        name, command = "gocraft/work v0.5.1", [str(request.getfixturevalue("gopeer"))]
    else:
        name, command = "gocraft/work's recorded commands", [sys.executable, str(RECORDED)]
    async with _ended(Peers(name, command, theatre.url, place)) as peers:
        yield peers


@asynccontextmanager
async def _ended(peers: Peers) -> AsyncIterator[Peers]:
    try:
        yield peers
    finally:
        for process in list(peers.running):
            await peers.kill(process)


async def test_mixed_fleets_under_fire_lose_nothing(
    theatre: Theatre, fleet: Fleet, peers: Peers, producer: Producer, certify: Certify
) -> None:
    # Given workers of both languages under load
    over = asyncio.Event()
    for _ in range(2):
        await peers.start()
    load = producer.produce(lambda: Job("mixed", {"_sleep_ms": 20.0}), 200.0 if FULL else 100.0, over.is_set)
    producing = asyncio.create_task(load)
    await peers.at_work()  # who asks now and then gets little beside who is rung for
    await fleet.start(2, silent=SILENT)

    # When they are killed at random, and started again at once
    kills = max(2, round(SECONDS / 2))
    for number in range(kills):
        await asyncio.sleep(SECONDS / kills)
        if number % 2:
            await fleet.kill(fleet.any())
            await fleet.launch(silent=SILENT)
        else:
            await peers.begun()
            await peers.kill(fleet.chance.choice(peers.running))
            await peers.start()
    over.set()
    await producing

    # Then nothing is lost, and locks and lists agree
    took = await quiet(theatre, 60, but=OBSERVED)
    await peers.stop_all()
    await quiet(theatre, 60, but=OBSERVED)
    await fleet.stop_all()
    python = fleet.ledger
    dead = await stored(theatre, State.DEAD)
    verdict = judge(Ledger([*python.lines, *peers.lines()]), kept=dead)
    held = {job for stroke in fleet.strokes for job in python.running(stroke.process)}
    assert not held & set(verdict.lost)
    assert (verdict.lost, verdict.phantom) == ((), ()), f"{verdict}\n{fleet.report()}"
    assert [what for what in await theatre.disorder() if OBSERVED not in what] == []
    by_python, by_peers = python.ids("F"), {line.subject for line in peers.lines() if line.kind == "F"}
    assert by_python
    assert by_peers
    certify(
        f"mixed {peers.name}",
        jobs=verdict.acked,
        kills=kills,
        lost=0,
        lost_of_what_python_held=0,
        duplicates=len(verdict.duplicates),
        finished_by_python=len(by_python),
        finished_by_peers=len(by_peers),
        quiet_after=took,
    )
