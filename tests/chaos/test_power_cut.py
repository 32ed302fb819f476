"""K1: the power is cut while SQLite writes; what was acknowledged is there afterwards, if the setting says so.

A run is recorded call by call. For each of many moments the disk is made as a power cut at that moment may leave it:
what was synced is there; of what was written since, each piece of 512 bytes may be there or not, in any combination.
"""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from chaos.certificates import Certify
from chaos.recorder import Event
from chaos.scale import sized, timeout

TESTS = Path(__file__).parents[1]
CUTS = 50
JOBS = sized(2000, 200)
SECTOR = 512
"""Bytes that a disk writes whole, or not at all."""

pytestmark = pytest.mark.timeout(timeout(400))


class Disk:
    """The files of a directory: what is safe, and what was written since."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.safe: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._since: defaultdict[str, list[Event]] = defaultdict(list)
        for event in events:
            if event.kind in ("write", "truncate"):
                self._since[event.name].append(event)
            elif event.kind == "sync":
                for one in self._since.pop(event.name, ()):
                    _apply(self.safe[event.name], one)
            elif event.kind == "delete":
                self._since.pop(event.name, None)
                self.safe.pop(event.name, None)

    def lose(self, chance: random.Random, kept: float) -> None:
        """The power is gone; of what was not synced, each piece is `kept` with this probability."""
        for name, events in self._since.items():
            for event in events:
                for piece in _pieces(event):
                    if chance.random() < kept:
                        _apply(self.safe[name], piece)
        self._since.clear()

    def write_to(self, directory: Path) -> None:
        directory.mkdir()
        for name, content in self.safe.items():
            (directory / name).write_bytes(content)


def _pieces(event: Event) -> Iterable[Event]:
    if event.kind == "truncate":
        yield event
    for start in range(0, len(event.data), SECTOR):
        yield event._replace(offset=event.offset + start, data=event.data[start : start + SECTOR])


def _apply(content: bytearray, event: Event) -> None:
    if event.kind == "truncate":
        del content[event.offset :]
        content.extend(bytes(event.offset - len(content)))
        return
    content.extend(bytes(max(0, event.offset - len(content))))
    content[event.offset : event.offset + len(event.data)] = event.data


class Found(NamedTuple):
    """After one power cut, of what was acknowledged before it."""

    lost: set[str]
    """Jobs that are not there, and that nobody had begun to end."""
    forgotten: set[str]
    """Endings: their jobs are there again."""
    damage: str


def _record(directory: Path, options: str) -> list[Event]:
    """What a run wrote; checked against the file that it left."""
    directory.mkdir()
    file, output = directory / "jobs.db", directory / "events"
    run = subprocess.run(
        [sys.executable, "-m", "chaos.powercut_app", str(file), options, str(JOBS), str(output)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.stderr.startswith("unshared: "):
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
    events = [Event(*event) for event in pickle.loads(output.read_bytes())]
    whole = Disk(events)
    whole.lose(random.Random(0), kept=1.0)
    assert whole.safe["jobs.db"] == file.read_bytes(), "something was written past the recorder"
    return events


def _look(directory: Path, events: Sequence[Event]) -> Found:
    told = {kind: {event.name for event in events if event.kind == kind} for kind in ("acked", "ending", "ended")}
    with closing(sqlite3.connect(directory / "jobs.db")) as database:
        (damage,) = database.execute("PRAGMA integrity_check").fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        known = database.execute("SELECT id FROM worksong_job").fetchall() if "worksong_job" in tables else []
    there = {id_ for (id_,) in known}
    return Found(told["acked"] - told["ending"] - there, told["ended"] & there, "" if damage == "ok" else damage)


def _cut(place: Path, chance: random.Random, options: str) -> tuple[list[Found], int]:
    """What there was after each of the power cuts; how many jobs were acknowledged in the whole run."""
    events = _record(place, options)
    kinds = [event.kind for event in events]
    begin, end = kinds.index("made"), kinds.index("over")
    found: list[Found] = []
    for number in range(CUTS):
        moment = chance.randrange(begin + 1, end)
        disk = Disk(events[:moment])
        disk.lose(chance, kept=(0.0, 0.5, 0.9)[number % 3])
        after = place / f"cut-{number}"
        disk.write_to(after)
        found.append(_look(after, events[:moment]))
    return found, kinds.count("acked")


@pytest.mark.parametrize("synchronous", ["FULL", "EXTRA"])
def test_k1_a_power_cut_at_any_moment_loses_nothing(
    synchronous: str, tmp_path: Path, chance: random.Random, certify: Certify
) -> None:
    # Given a program that enqueues and ends jobs in a file, whose every write is recorded
    options = "" if synchronous == "FULL" else f"?synchronous={synchronous}"

    # When the power is cut at many moments
    found, acked = _cut(tmp_path / "disk", chance, options)

    # Then whatever was acknowledged before is there, and the file is whole
    assert [one.damage for one in found if one.damage] == []
    assert [one.lost for one in found if one.lost] == []
    assert [one.forgotten for one in found if one.forgotten] == []
    certify(
        "K1",
        backend=f"`sqlite://`, synchronous {synchronous}",
        versions=f"SQLite {sqlite3.sqlite_version}",
        power_cuts=CUTS,
        jobs=acked,
        lost=0,
        endings_forgotten=0,
        files_damaged=0,
    )


def test_k1_with_synchronous_normal_the_same_power_cuts_lose_the_last_commits_and_damage_nothing(
    tmp_path: Path, chance: random.Random, certify: Certify
) -> None:
    """As documented; and it shows that the test above would see a loss."""
    # When the power is cut at many moments
    found, acked = _cut(tmp_path / "disk", chance, "?synchronous=NORMAL")

    # Then some of what was acknowledged is lost, and yet the file is whole
    assert [one.damage for one in found if one.damage] == []
    losing = [one for one in found if one.lost]
    assert losing
    certify(
        "K1",
        backend="`sqlite://`, synchronous NORMAL",
        versions=f"SQLite {sqlite3.sqlite_version}",
        power_cuts=CUTS,
        jobs=acked,
        cuts_that_lost=len(losing),
        lost_at_most=max(len(one.lost) for one in losing),
        files_damaged=0,
    )
