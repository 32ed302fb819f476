"""A worker goes through all twelve faults of the network, one after the other, and works again after each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.kept_server import KeptServer, kept
from chaos.proxy import ALWAYS, ANY, ON_CONNECTING, Fault, Proxy
from chaos.scale import FULL
from chaos.scene import AT_ONCE, CONNECTIONS, said, working
from worksong.adapters.gocraft import pulse
from worksong.domain.errors import BackendUnavailable

TIMEOUT = 0.5 if FULL else 2.0
LASTS = 3.0 if FULL else 0.4
BEATS = 5.0
"""Seconds between the beats of a gocraft/work pool."""
MET = list(Fault) if FULL else [Fault.STALLED, Fault.CUT_AFTER]
"""Which faults; every call meets all of them in another place."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KeptServer]:
    with kept(tmp_path) as server:
        yield server


@pytest.mark.timeout(600)
async def test_a_worker_works_again_after_each_fault_and_has_lost_nothing(
    server: KeptServer, caplog: pytest.LogCaptureFixture, certify: Callable[..., None]
) -> None:
    caplog.set_level(logging.INFO, "worksong")
    slowest, lines = 0.0, 0
    with Proxy(server.port) as proxy:
        async with working(f"{proxy.url}?timeout={TIMEOUT}") as scene:
            for fault in MET:
                # Given a worker at work, when every command meets the fault for a while
                caplog.clear()
                began, connects = time.monotonic(), len(proxy.connects)
                if fault in ON_CONNECTING:
                    proxy.refuse(fault)
                else:
                    proxy.on(ANY, fault, times=ALWAYS)
                await asyncio.sleep(LASTS)
                proxy.heal()
                # Then it works again soon, and everything that was taken in runs once
                recovered = await scene.recovered()
                lasted, told = time.monotonic() - began, said(caplog.records)
                about = f"{fault.name}: recovered in {recovered:.2f} s, {told}"
                print(about)
                assert not scene.doubled, about
                assert len(told) <= lasted + AT_ONCE, about
                assert len(proxy.connects) - connects <= 2 * CONNECTIONS * (lasted + 1), about
                slowest, lines = max(slowest, recovered), max(lines, len(told))
        assert all(isinstance(error, BackendUnavailable) for error in scene.errors)
        # Who calls may first wait to be connected, and then for the answer.
        assert scene.longest <= 2 * TIMEOUT * 1.1 + (0 if FULL else 60)
    certify(
        "C2 worker",
        faults=len(MET),
        taken_in=len(scene.acked),
        lost=0,
        doubled=0,
        longest_call=scene.longest,
        longest_until_healthy=slowest,
        lines=lines,
    )


async def test_a_job_whose_lending_was_not_heard_of_runs_while_the_pool_lives(
    server: KeptServer, certify: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not FULL:
        monkeypatch.setattr(pulse, "RECONCILE", 1)
    with Proxy(server.port) as proxy:
        async with working(f"{proxy.url}?timeout={TIMEOUT}") as scene:
            # Given a fetch whose answer gets lost when it has lent somebody jobs
            proxy.on("EVALSHA:fetch", Fault.CUT_AFTER, answering=b'"name":"b"')
            # When a job is enqueued, then it runs, once, though its pool never heard of it
            began = time.monotonic()
            async with asyncio.timeout(2 * BEATS + 5.0 + (0 if FULL else 90)):
                await scene.one_runs("b")
            waited = time.monotonic() - began
        assert proxy.struck["EVALSHA:fetch", Fault.CUT_AFTER] == 1
        assert not scene.doubled
    certify("C2 lost fetch", lost=0, doubled=0, waited=waited)
