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
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest
import uvicorn

from browser.shop import seeded
from hostile import TEXTS, beat, hostile_store, ids
from worksong import Worker
from worksong.faces.web import Console
from worksong.service.desk import Store
from worksong.service.search import LISTED

HERE = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 1200.0
PICTURES = Path(os.environ.get("WORKSONG_PICTURES", "") or HERE / "pictures")
"""Where to put pictures of the pages."""
TOKEN = "a-token-of-sixteen-or-more"
PAGES = ("/", "/queues", "/jobs", "/workers", "/handlers", "/history", "/cron", "/errors", "/audit")

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


@contextmanager
def serving(
    prepare: Callable[[], Awaitable[tuple[Worker | Store, asyncio.Task[None]]]], token: str | None = None
) -> Iterator[str]:
    """The address of a console over what was prepared, in a thread of its own; the task keeps its pools alive."""
    if reason := missing():
        pytest.skip(f"no browser: {reason}")
    started: list[Announcing] = []
    ready = threading.Event()

    async def serve() -> None:
        jobs, beating = await prepare()
        config = uvicorn.Config(Console(jobs, token=token), port=0, log_level="error", lifespan="off", ws="none")
        started.append(Announcing(config, ready))
        await started[0].serve()
        beating.cancel()
        await asyncio.wait([beating])
        await jobs.backend().close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="console")
    thread.start()
    assert ready.wait(60)
    port = started[0].servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        started[0].should_exit = True
        thread.join(60)


def node(*arguments: str, given: str = "") -> dict[str, list[str]]:
    """What a script found, stretch by stretch."""
    walked = subprocess.run(
        ["node", *arguments], cwd=HERE, input=given, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    sys.stderr.write(walked.stderr)
    assert walked.returncode == 0, walked.stderr
    found: dict[str, list[str]] = json.loads(walked.stdout)
    return found


def test_nothing_is_wrong_on_any_stretch() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with serving(seeded) as address:
        found = node("walk.mjs", address, str(CHROMIUM), str(PICTURES.resolve()))
    assert len(found) >= 37
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
def test_every_page_opens_and_every_order_is_carried_out(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    url = urls.get(scheme) or request.getfixturevalue("redis_url")
    with serving(partial(seeded, url, f"shop-{uuid.uuid4().hex}"), TOKEN) as address:
        found = node("acts.mjs", address, str(CHROMIUM), TOKEN)
    assert len(found) >= 40
    assert {name: problems for name, problems in found.items() if problems} == {}


async def besieged() -> tuple[Store, asyncio.Task[None]]:
    """A store with every hostile text in every field, and what keeps its pools alive."""
    store, beats = await hostile_store()

    async def beating() -> None:
        while True:
            await beat(store.backend(), beats)
            await asyncio.sleep(1)

    return store, asyncio.ensure_future(beating())


def test_no_hostile_text_does_anything_on_any_page() -> None:
    # Given pages of lists, and the page of each job that is dead, runs, or has left a result
    lists = [f"/jobs?state={state}&page={page}" for state in LISTED for page in range(1, 2 + len(TEXTS) // 50)]
    jobs = [f"/job?{urlencode({'id': job_id})}" for letter in "dxv" for job_id in ids(letter)]
    searched = [f"/jobs?{urlencode({'q': text.replace(':', ' ')[:400]})}" for text in TEXTS[::9]]
    # When a browser opens all of them
    with serving(besieged) as address:
        found = node("hostile.mjs", address, str(CHROMIUM), given=json.dumps([*PAGES, *lists, *jobs, *searched]))
    # Then nothing ran, nothing was refused by the policy, nothing was asked of anybody else
    assert len(found) >= 3 * 200
    assert {path: problems for path, problems in found.items() if problems} == {}
