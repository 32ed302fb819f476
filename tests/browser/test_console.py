"""The web console in a real browser: every page in light, dark and on a phone, and what scripts do on them.

It takes a minute or more, so `make browser` runs it, which also installs what it needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from browser.shop import add_hostile, seeded
from worksong.faces.web import Console

HERE = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 1200.0
PICTURES = os.environ.get("WORKSONG_PICTURES", "")
"""Where to put pictures of the pages, for the documentation; then there is nothing hostile on them."""

pytestmark = [pytest.mark.browser, pytest.mark.timeout(PATIENCE)]


class Announcing(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


def missing() -> str:
    """Why the tests cannot run; empty when they can."""
    if not os.environ.get("WORKSONG_BROWSER"):
        return "make browser runs them"
    if not CHROMIUM:
        return "chromium is not on the PATH"
    if not shutil.which("node"):
        return "node is not on the PATH"
    return "" if (HERE / "node_modules").is_dir() else "npm has not installed what tests/browser/package.json names"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A console with jobs in every state, in a thread of its own."""
    if reason := missing():
        pytest.skip(f"no browser: {reason}")
    started: list[Announcing] = []
    ready = threading.Event()

    async def serve() -> None:
        worker, beating = await seeded()
        if not PICTURES:
            await add_hostile(worker)
        config = uvicorn.Config(Console(worker), port=0, log_level="error", lifespan="off", ws="none")
        started.append(Announcing(config, ready))
        await started[0].serve()
        beating.cancel()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="console")
    thread.start()
    assert ready.wait(60)
    port = started[0].servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    started[0].should_exit = True
    thread.join(60)


def test_nothing_is_wrong_on_any_stretch(address: str) -> None:
    command = ["node", "walk.mjs", address, str(CHROMIUM), *([str(Path(PICTURES).resolve())] if PICTURES else [])]
    walked = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert walked.returncode == 0, walked.stderr
    found: dict[str, list[str]] = json.loads(walked.stdout)
    assert len(found) >= 38
    assert {name: problems for name, problems in found.items() if problems} == {}
