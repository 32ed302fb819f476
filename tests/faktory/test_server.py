"""Whether it is the real server that the other tests ran on, and what of it only a real one can show."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import gotool
import servers
from worksong.adapters.faktory import FaktoryBackend
from worksong.domain.finding import Severity
from worksong.wire.faktory_talk import Info, info

pytestmark = pytest.mark.timeout(gotool.BUILT + 400)  # the first one waits for the server to be built


async def asked(backend: FaktoryBackend) -> Info:
    reply = await backend._client.ask("INFO")
    assert isinstance(reply, bytes)
    return info(reply)


async def test_the_server_of_these_tests_is_the_real_one(
    faktory_program: Path, faktory_server: servers.Faktory | None
) -> None:
    """Skipped, with the reason, where a stand-in has answered instead."""
    assert faktory_server, f"{faktory_program} does not start"
    backend = FaktoryBackend(f"{faktory_server.url}?timeout=60", namespace="")
    try:
        told = await asked(backend)
    finally:
        await backend.close()
    assert told.server.description == "Faktory"
    assert told.version == (1, 10, 0)


async def test_a_worker_finds_nothing_wrong_with_a_server_that_has_just_started(
    faktory_program: Path, faktory_server: servers.Faktory | None
) -> None:
    assert faktory_server, f"{faktory_program} does not start"
    faktory_server.order("empty")
    backend = FaktoryBackend(f"{faktory_server.url}?timeout=60", namespace="")
    try:
        findings = await backend.examine(time.time())
    finally:
        await backend.close()
    bad = [finding for finding in findings if finding.severity is not Severity.OK]
    assert {finding.id for finding in bad} <= {"faktory.workers.stale", "faktory.reservations.expired"}, bad
