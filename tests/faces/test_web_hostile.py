"""The web console over what an attacker, a broken program or a careless address may put before it."""

from __future__ import annotations

import gzip
import html
import re
import runpy
import sqlite3
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from faces.console import Yard
from faces.test_web_pages import PAGES, QUESTIONS, STATES, stock
from faces.visitor import check_page, text_of, visiting
from hostile import TEXTS, VECTORS, hostile_store, ids
from worksong import Worker
from worksong.domain.job import Job

CORPUS: list[tuple[str, bytes, Any]] = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))["CORPUS"]
STRANGE = re.compile(r"<(?:img|iframe|object|embed|base|audio|video|marquee|math|style|plaintext|xmp)\b", re.IGNORECASE)
"""Elements that no page of the console has."""
LISTS = 1 + len(VECTORS) // 50
"""Pages of a list of all hostile jobs."""
FIRST_LOAD = 60_000
"""Bytes of the first page with all that it loads, as they travel."""


async def test_no_hostile_text_is_markup_on_any_page() -> None:
    # Given every vector in every text that the console shows
    assert len(VECTORS) >= 200
    store, _ = await hostile_store()
    async with visiting(store) as visitor:
        # When every page is read
        full = [
            await visitor.read(path)
            for path in (
                *("/queues", "/workers", "/cron", "/errors", "/handlers", "/audit"),
                f"/job?id={ids('d')[-1]}",
            )
        ]
        full.append(" ".join([await visitor.read(f"/jobs?state=dead&page={page}") for page in range(1, LISTS + 1)]))
        pages = [await visitor.read(path) for path in ("/", *(f"/jobs?state={each}&page={LISTS}" for each in STATES))]
        pages += [
            check_page(await visitor.get("/job", params={"id": job_id})) for job_id in (*ids("v")[::9], *ids("x")[:9])
        ]
        pages += [check_page(await visitor.send("/act/queue", queue=TEXTS[-1], act=act)) for act in ("purge", "pause")]
    async with visiting(store._replace(namespace=TEXTS[-1], url=TEXTS[-1])) as visitor:
        full.append(await visitor.read("/cron"))
    # Then each is well formed, with nothing in it that runs or leaves
    assert not [tag for page in (*full, *pages) for tag in STRANGE.findall(page)]
    # And each vector is there as a text
    for page in full:
        text = text_of(page)
        assert not [vector for vector in VECTORS if seen(vector) not in text]


def seen(vector: str) -> str:
    """The vector as it is read: a control is shown as such."""
    return " ".join(vector.replace("\x0c", "\\x0c").split())


async def poisoned_memory(worker: Worker) -> None:
    """There are no bytes here that are no job: what they say stands in the texts."""
    yard = Yard(worker.backend())
    for name, raw, _ in CORPUS:
        text = raw[:5000].decode("utf-8", "backslashreplace")
        await yard.bury(text, Job("a", {"poison": text}, id=f"dead {name}"))
        await yard.push(Job("a", {"poison": text}, id=name))


async def poisoned_sqlite(worker: Worker) -> None:
    """Rows of jobs in every state, with the poison in each column that holds a document."""
    await stock(worker)
    for state in STATES:
        await worker.backend().push([Job("a", {"n": n}, id=f"{state} {n}") for n, _ in enumerate(CORPUS)], time.time())
    with sqlite3.connect(worker.url.removeprefix("sqlite:///")) as database:
        for state in STATES:
            for n, (_, raw, _) in enumerate(CORPUS):
                database.execute(
                    "UPDATE worksong_job SET state = ?, args = ?, error = ?, meta = ? WHERE id = ?",
                    (state, raw, raw, raw, f"{state} {n}"),
                )
    database.close()


async def poisoned_redis(worker: Worker) -> None:
    """In a queue, in the sorted sets, and in a pool's hands."""
    yard = await stock(worker)
    prefix = f"{worker.name}:"
    with redis.Redis.from_url(worker.url) as store:
        for at, (_, raw, _) in enumerate(CORPUS):
            store.lpush(f"{prefix}jobs:mail", raw)
            store.lpush(f"{prefix}jobs:export:{yard.pool.id}:inprogress", raw)
            for name in ("scheduled", "retry", "dead"):
                store.zadd(f"{prefix}{name}", {raw: time.time() + at})


@pytest.mark.parametrize("poisoned", [poisoned_memory, poisoned_sqlite, poisoned_redis])
async def test_with_the_poison_corpus_in_the_store_every_page_is_written(
    poisoned: Callable[[Worker], Awaitable[None]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Given a store that holds everything that was ever found to be no job
    kind = poisoned.__name__.removeprefix("poisoned_")
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    worker = Worker(urls.get(kind) or request.getfixturevalue("redis_url"), name=f"web-{uuid.uuid4().hex}")
    await poisoned(worker)
    async with visiting(worker) as visitor:
        lists = [f"/jobs?state={state}&page={page}" for state in ("queued", "dead") for page in (1, 2, 3)]
        for path in (*PAGES, *lists, *(f"/jobs?state={state}" for state in STATES), "/jobs?state=dead&q=args.n:1"):
            # Then every page is whole, and whatever it leads to as well
            page = await visitor.read(path)
            for link in sorted({html.unescape(found) for found in re.findall(r'href="(/job\?[^"]*)"', page)})[::20]:
                answer = await visitor.get(link)
                assert answer.status_code in (200, 404), link
                check_page(answer)
        # And programs are answered
        for question in (*QUESTIONS, "/jobs?state=dead"):
            assert (await visitor.get(f"/api/v1{question}")).status_code == 200, question
        await worker.backend().erase()


ODD = (
    *(
        "",
        "0",
        "-1",
        "1e308",
        "99999999999999999999",
        "0x10",
        "NaN",
        "Infinity",
        "٣",
        "1.5",
        "%00",
        "%F0%9F%92%A9",
        "%ED%A0%80",
    ),
    *(
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "'%22><img src=x onerror=alert(1)>",
        "{{7*7}}",
        "%0d%0aSet-Cookie:a=b",
    ),
    *(
        "a" * 5_000,
        "*" * 400,
        "state:dead " * 40,
        "args.:x args.a:",
        "args." + "a." * 200 + "b:*",
        '"' * 99,
        "id:*",
        "🎷",
    ),
)
PARAMETERS = ("page", "state", "q", "id", "notice", "nonsense")


@pytest.mark.parametrize("parameter", PARAMETERS)
async def test_no_address_is_a_failure_of_the_console(parameter: str) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        for path in (*PAGES, "/job", *(f"/api/v1{question}" for question in (*QUESTIONS, "/job"))):
            for value in ODD:
                # When a parameter is out of all bounds
                answer = await visitor.get(f"{path}?{parameter}={value}")
                # Then it is brought into them, or refused by a page that says why
                assert answer.status_code in (200, 400, 404), (path, value)
                assert "most recent call last" not in answer.text
                if not path.startswith("/api"):
                    check_page(answer)


@pytest.mark.parametrize("path", ["/act/queue", "/act/jobs", "/act/group", "/act/periodic", "/act/pool"])
async def test_no_form_is_a_failure_of_the_console(path: str) -> None:
    worker = Worker()
    await stock(worker)
    names = ("queue", "act", "state", "id", "all", "q", "handler", "error", "job", "spec", "pool", "sure", "count")
    async with visiting(worker) as visitor:
        before = await worker.backend().counts()
        for value in ODD:
            answer = await visitor.send(path, **dict.fromkeys(names, value[:3_000]))
            assert answer.status_code in (400, 404), value
            check_page(answer)
        assert await worker.backend().counts() == before


@pytest.mark.parametrize("path", PAGES)
async def test_the_first_page_is_light(path: str) -> None:
    # Given a console with something on every page
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        # When a page is opened for the first time
        page = await visitor.read(path)
        files = sorted(set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)))
        sizes = [len(gzip.compress(page.encode()))]
        for file in files:
            async with visitor.client.stream("GET", file, headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.headers["content-encoding"] == "gzip"
                sizes.append(sum([len(part) async for part in answer.aiter_raw()]))
        # Then it and all that it loads are a light load
        assert len(files) >= 4
        assert sum(sizes) <= FIRST_LOAD
