"""A server whose disk is full: who enqueues is told, the worker waits, and all goes on when there is room again."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.kept_server import KeptServer, kept
from chaos.scale import FULL
from chaos.scene import AT_ONCE, RECOVERED, said, working
from patience import until
from worksong.domain.errors import BackendFull

SIZE = "2m"
HOLDS = 3.0 if FULL else 0.3
"""Seconds that the disk stays full."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for very little."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs to fill")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "worksong-chaos", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def server(small_disk: Path) -> Iterator[KeptServer]:
    with kept(small_disk, "--appendfsync", "everysec") as server:
        yield server


async def test_a_full_disk_is_told_and_nothing_that_was_taken_in_is_lost(
    server: KeptServer, small_disk: Path, caplog: pytest.LogCaptureFixture, certify: Callable[..., None]
) -> None:
    caplog.set_level(logging.INFO, "worksong")
    async with working(f"{server.url}?timeout={1 if FULL else 5}") as scene:
        # Given a disk that somebody fills
        caplog.clear()
        began, ballast = time.monotonic(), small_disk / "ballast"
        fill(ballast)
        # When jobs are enqueued until the server can keep no more
        async with asyncio.timeout(RECOVERED):
            while True:
                if scene.errors:
                    break
                await scene.enqueue()
        await asyncio.sleep(HOLDS)
        # Then each is refused with a typed error that says why
        refused = scene.errors.copy()
        assert all(isinstance(error, BackendFull) for error in refused)
        assert all("MISCONF" in str(error) and "No space left on device" in str(error) for error in refused)
        # and when there is room again, everything that was taken in runs, once
        ballast.unlink()
        recovered = await scene.recovered()
        assert not scene.doubled
        lines, lasted = said(caplog.records), time.monotonic() - began
        assert 1 <= len(lines) <= lasted + AT_ONCE, lines[:10]

    # and the file has it all, too: a server that is killed and started on it has nothing left to do
    await asyncio.to_thread(flushed, server)
    server.kill()
    server.start()
    async with working(server.url) as after:
        await after.recovered()
        assert not set(after.ran) & set(scene.ran)
    certify("C7", taken_in=len(scene.acked), refused=len(refused), lost=0, lines=len(lines), recovered=recovered)


def fill(ballast: Path) -> None:
    """Leave no room at all."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def flushed(server: KeptServer) -> None:
    """Wait until the append-only file was written well again."""
    until(lambda: server.info("persistence")["aof_last_write_status"] == "ok", "a good write", within=RECOVERED)
    server.call("CONFIG", "SET", "appendfsync", "always")  # what was put off because the disk is slow is written now
    server.call("SET", "the last", "word")
