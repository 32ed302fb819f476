"""The pages of the web console, and the same as JSON."""

from __future__ import annotations

import html
import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from faces.console import Yard
from faces.visitor import ADDRESS, check_page, text_of, visiting
from worksong import Worker
from worksong.adapters.base import BaseBackend
from worksong.domain.capability import Capability
from worksong.domain.errors import BackendRefused, BackendUnavailable
from worksong.domain.firing import firing_id
from worksong.domain.job import Delivery, Job
from worksong.domain.outcome import Buried
from worksong.engine.firings import Firings
from worksong.engine.vitals import Vitals, tell
from worksong.faces.web import Console
from worksong.faces.web.replies import Json
from worksong.ports.backend import Backend, Running
from worksong.ports.clock import SystemClock
from worksong.service.desk import Store
from worksong.testing.flaky import FlakyBackend, error

PAGES = ("/", "/queues", "/jobs", "/workers", "/handlers", "/history", "/cron", "/errors", "/audit")
STATES = ("queued", "running", "scheduled", "retry", "dead")
QUESTIONS = ("/counts", "/queues", "/jobs", "/pools", "/busy", "/errors", "/audit")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\x1b[31m\u202e\ud800`x`"
CANARY = "hunter2"


def store_of(backend: Any) -> Store:
    return Store(lambda: backend, SystemClock(), "memory://", "shop")


def headline(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page)
    assert found
    return found[1]


async def stock(worker: Worker) -> Yard:
    """One job in each state, with ids of their own."""
    yard = Yard(worker.backend())
    await yard.bury("Traceback:\n  line 1\nLookupError: order 7 is unknown", Job("charge", {"order": 7}, id="d1"))
    await yard.fail("TimeoutError: no answer", Job("mail", {"user_id": 1}, id="r1"))
    await yard.run(Job("export", {"table": "users"}, id="x1"), checkin="3/10")
    await yard.push(
        Job("mail", {"user_id": 2}, queue="letters", id="q1"), Job("mail", {"user_id": 3}, id="s1", run_at=4e9)
    )
    return yard


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "redis"])
async def test_every_page_shows_what_there_is(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    # Given a job in each state
    places = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/jobs.db"}
    url = places.get(scheme) or request.getfixturevalue("redis_url")
    worker = Worker(url, name=f"web-{uuid.uuid4().hex}")
    await stock(worker)
    async with visiting(worker) as visitor:
        # Then the overview counts them and names what fails
        overview = text_of(await visitor.read("/"))
        assert "queued 1 " in overview
        assert "dead 1 " in overview
        assert "LookupError: order 7 is unknown" in overview
        # And each state lists its own
        for state, job_id in zip(STATES, ("q1", "x1", "s1", "r1", "d1"), strict=True):
            assert job_id in text_of(await visitor.read(f"/jobs?state={state}"))
            dossier = text_of(await visitor.read(f"/job?id={job_id}"))
            assert job_id in dossier
            assert state in dossier
        queues, name = await visitor.read("/queues"), "mail" if scheme == "redis" else "letters"
        link = re.search(rf'<a class="name" href="([^"]+)">{name}</a>', queues)
        assert link
        assert "q1" in text_of(await visitor.read(html.unescape(link[1])))
        workers = text_of(await visitor.read("/workers"))
        assert "web-1 4711" in workers
        assert "3/10" in workers
        assert "LookupError: order * is unknown" in text_of(await visitor.read("/errors"))
        # And programs are told the same
        counts = await visitor.json("/counts")
        assert {state: counts[state] for state in STATES} == dict.fromkeys(STATES, 1)
        assert [job["id"] for job in (await visitor.json("/jobs?state=dead"))["jobs"]] == ["d1"]
        assert (await visitor.json("/job?id=d1"))["reasons"][0][0] == "dead"
        assert [busy["job_id"] for busy in await visitor.json("/busy")] == ["x1"]
        await worker.backend().erase()


async def test_an_empty_console_says_so_on_every_page() -> None:
    async with visiting(Worker()) as visitor:
        for path, words in zip(
            PAGES,
            (
                *("No queues yet", "No queues yet", "No queued jobs", "No worker runs", "Nothing ran"),
                *("Nothing ran", "no periodic jobs", "Nothing fails", "Nobody has ordered"),
            ),
            strict=True,
        ):
            assert words in text_of(await visitor.read(path))


async def test_jobs_are_found_by_what_is_known_of_them() -> None:
    worker = Worker()
    yard = await stock(worker)
    await yard.bury("ValueError: order 8 has no lines", Job("charge_again", {"order": 8}, id="d2"))
    async with visiting(worker) as visitor:
        for sought, found in (
            ("state:dead", ["d1", "d2"]),
            ("state:dead handler:charge", ["d1"]),
            ("state:dead handler:charge*", ["d1", "d2"]),
            ('state:dead error:"order * is unknown"', ["d1"]),
            ("state:dead lines", ["d2"]),
            ("state:queued queue:letters", ["q1"]),
            ("state:dead id:d2", ["d2"]),
            ("state:retry id:d2", []),
            ("state:dead args.order:8", ["d2"]),
            ("state:dead id:d2 args.order:7", []),
            ("state:running args.table:use*", ["x1"]),
        ):
            answer = await visitor.json(f"/jobs?q={sought.replace(' ', '+')}")
            assert [job["id"] for job in answer["jobs"]] == found, sought
        # And a whole id needs no state
        assert "Dead jobs" in await visitor.read("/jobs?q=id:d2")


async def test_the_search_suggests_what_there_is_and_finds_nothing_that_is_hidden() -> None:
    # Given a job type of the application that hides an argument
    worker = Worker()
    worker.register("charge", lambda card: None, redact=["card"])
    yard = await stock(worker)
    await yard.bury("no", Job("charge", {"card": "4111"}, id="c1"))
    async with visiting(worker) as visitor:
        # Then what may be sought is suggested, without a script
        page = await visitor.read("/jobs")
        options = [html.unescape(option) for option in re.findall(r'<option value="([^"]*)">', page)]
        assert 'list="hints"' in page
        assert {"handler:", "args.", "state:dead", 'handler:"charge"', 'queue:"letters"'} <= set(options)
        # And a hidden argument cannot be guessed, in a list or of one job
        for sought in ("args.card:4111", "args.card:4*", "id:c1 args.card:4111"):
            answer = await visitor.json(f"/jobs?q=state:dead+{sought.replace(' ', '+')}")
            assert answer["jobs"] == [], sought


@pytest.mark.parametrize(
    "path",
    [
        "/jobs?state=gone",
        "/jobs?state=<script>",
        "/jobs?q=colour:red",
        "/jobs?q=state:gone",
        f"/jobs?q={'x' * 501}",
        "/job",
        "/job?id=nobody",
        "/job?id=../../etc/passwd",
        "/nowhere",
        "/static/../console.py",
    ],
)
async def test_what_cannot_be_asked_is_told_in_a_page_of_its_own(path: str) -> None:
    async with visiting(Worker()) as visitor:
        answer = await visitor.get(path)
        assert answer.status_code in (400, 404)
        if not path.startswith("/static"):
            check_page(answer)
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("page", ["0", "-1", "1e9", "99999999999999999999", "x", "%00", "10001", "٣"])
async def test_numbers_out_of_range_are_brought_into_it(page: str) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        await visitor.read(f"/jobs?state=dead&page={page}")
        assert 1 <= (await visitor.json(f"/jobs?state=dead&page={page}"))["page"] <= 10_000


async def test_long_lists_come_in_pages() -> None:
    worker = Worker()
    await Yard(worker.backend()).push(*(Job("mail", {"n": n}, id=f"j{n:03}") for n in range(120)))
    async with visiting(worker) as visitor:
        assert "page 2 of 3" in text_of(await visitor.read("/jobs?state=queued&page=2"))
        assert len((await visitor.json("/jobs?state=queued&page=3"))["jobs"]) == 20


async def test_hostile_texts_are_only_text_on_every_page() -> None:
    # Given markup, controls and half a character in every text that others can write
    worker = Worker()
    yard = Yard(worker.backend())
    args = {HOSTILE[:25]: [HOSTILE.replace("\ud800", "")]}
    safe = HOSTILE.replace("\ud800", "")
    await yard.bury(HOSTILE, Job(HOSTILE, args, queue=safe, id=f"d{safe}"))
    await yard.fail(HOSTILE, Job("mail", args, queue=safe, id="r1"))
    await yard.run(Job(safe, args, id=f"x{safe}"), checkin=HOSTILE)
    await yard.push(Job(safe, args, queue=safe, id="q1"))
    async with visiting(worker) as visitor:
        paths = [*PAGES, *(f"/jobs?state={state}" for state in STATES), "/job?id=r1", "/job?id=q1"]
        pages = [await visitor.read(path) for path in paths]
        pages += [check_page(await visitor.get("/job", params={"id": f"{prefix}{safe}"})) for prefix in "dx"]
        pages.append(check_page(await visitor.get("/jobs", params={"q": safe.replace('"', "").replace(":", "")})))
        # Then none of it is markup, and nothing that is not seen is in it
        for page in pages:
            assert "<script>alert" not in page
            assert "<img src=x" not in page
            assert not set(page) & set("\x1b\u202e\ud800")
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]


async def test_what_is_redacted_leaves_neither_in_a_page_nor_as_json() -> None:
    # Given secrets in arguments, by their names and by the job type, in URLs, errors, check-ins and results
    worker = Worker()
    worker.register("charge", lambda args: None, redact=("card",))
    secret = {"card": CANARY, "api_token": CANARY, "deep": [{"password": CANARY}], "at": f"https://u:{CANARY}@host/"}
    failed = f"LookupError: redis://u:{CANARY}@host/ is away"
    yard = Yard(worker.backend())
    await yard.bury(failed, Job("charge", secret, id="d1", meta={"auth": CANARY}))
    await yard.fail(failed, Job("charge", [CANARY, 7], id="r1"))
    await yard.run(Job("charge", secret, id="x1"), checkin=f"reading https://u:{CANARY}@host/")
    await yard.push(Job("charge", secret, id="q1", unique=True), Job("charge", [secret], id="q2"))
    worker.periodic("@hourly", "charge", args={"card": CANARY})
    async with visiting(worker) as visitor:
        ids = ("d1", "r1", "x1", "q1", "q2")
        for path in (*PAGES, *(f"/jobs?state={state}" for state in STATES), *(f"/job?id={name}" for name in ids)):
            assert CANARY not in await visitor.read(path), path
        for path in (
            *QUESTIONS,
            "/cron",
            *(f"/jobs?state={state}" for state in STATES),
            *(f"/job?id={n}" for n in ids),
        ):
            assert CANARY not in (await visitor.get(f"/api/v1{path}")).text, path
        assert "***" in await visitor.read("/job?id=d1")


async def test_a_result_is_shown_and_stays_when_the_job_is_gone() -> None:
    worker = Worker()

    @worker.job()
    async def add(a: int, b: int) -> dict[str, Any]:
        return {"sum": a + b, "token": CANARY}

    handle = await add.aperform(a=3, b=4)
    assert handle
    async with worker:
        await handle.aresult(timeout=60)
    async with visiting(worker) as visitor:
        page = await visitor.read(f"/job?id={handle.id}")
        assert '"sum": 7' in text_of(page)
        assert CANARY not in page


async def test_periodic_jobs_are_listed_with_their_next_firings() -> None:
    worker = Worker()
    worker.register("report", lambda: None)
    worker.periodic("0 3 * * *", "report", tz="Europe/Berlin")
    async with visiting(worker) as visitor:
        page = text_of(await visitor.read("/cron"))
        assert "report at 03:00 every day 0 3 * * * Europe/Berlin" in page
        assert (await visitor.json("/cron"))[0]["next"][0]["unix"] > time.time()


async def test_a_periodic_job_that_has_fired_says_when_how_late_and_how_it_ended() -> None:
    worker = Worker()
    worker.register("report", lambda: None)
    worker.periodic("@every 60s", "report")
    due = time.time() // 60 * 60 - 120
    delivery = Delivery(Job("report", id=firing_id("report", "@every 60s", due)), None, 1)
    firings = Firings(worker.registry.periodic)
    firings.note(Running(delivery, 0, due + 0.25), Buried("OSError"), due + 5)
    async with visiting(worker) as visitor:
        assert (await visitor.json("/cron"))[0]["last"] is None
        await firings.write(worker.backend(), due + 5)
        page = text_of(await visitor.read("/cron"))
        assert "ago dead began 250 ms late" in page
        last = (await visitor.json("/cron"))[0]["last"]
        assert (last["due"], last["drift"], last["ending"]) == (due, 0.25, "dead")


async def test_a_worker_process_that_tells_its_memory_and_lag_is_shown_with_them() -> None:
    worker = Worker()
    yard = await stock(worker)
    async with visiting(worker) as visitor:
        (pool,) = await visitor.json("/pools")
        assert (pool["memory"], pool["loop_lag"]) == (None, None)
        lasting = time.time() + 3600  # it would be out of date after two minutes, on however slow a machine
        await tell(worker.backend(), yard.pool.id, Vitals(lasting, 64 << 20, 1.5))
        assert "64 MB, its loop is 1.5 s late" in text_of(await visitor.read("/workers"))
        (pool,) = await visitor.json("/pools")
        assert (pool["memory"], pool["loop_lag"]) == (64 << 20, 1.5)


async def test_without_an_application_cron_says_what_it_needs() -> None:
    worker = Worker()
    async with visiting(store_of(worker.backend())) as visitor:
        assert "worksong ui myapp.jobs:worker" in text_of(await visitor.read("/cron"))
        assert (await visitor.get("/api/v1/cron")).json()["error"]["type"] == "not_found"


# backends that cannot, are away, or refuse


class Mute(BaseBackend):
    """Only takes jobs."""


class Shy:
    """A backend that promises less than it could."""

    def __init__(self, inner: Backend, *without: Capability) -> None:
        self._inner = inner
        self.capabilities = inner.capabilities - set(without)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_backend_that_lists_nothing_is_told_so_and_is_no_failure() -> None:
    async with visiting(store_of(Mute())) as visitor:
        assert "use the server's own tools" in text_of(await visitor.read("/"))
        for path in (*PAGES, "/job?id=a", *(f"/api/v1{path}" for path in QUESTIONS)):
            answer = await visitor.get(path)
            assert answer.status_code in (200, 404, 409), path
        assert (await visitor.get("/api/v1/queues")).json()["error"]["type"] == "unsupported"


async def test_orders_that_the_backend_refuses_are_not_offered() -> None:
    worker = Worker()
    await stock(worker)
    shy = Shy(worker.backend(), Capability.PAUSE, Capability.PURGE, Capability.REVIVE, Capability.CANCEL)
    async with visiting(store_of(shy)) as visitor:
        queues = await visitor.read("/queues")
        assert 'name="act"' not in queues
        assert "stop the workers" in queues
        for state in STATES:
            assert 'name="act"' not in await visitor.read(f"/jobs?state={state}")
        assert 'name="act"' not in await visitor.read("/job?id=d1")
        for path, fields in (
            ("/act/queue", {"queue": "letters", "act": "pause"}),
            ("/act/jobs", {"state": "dead", "act": "requeue", "id": "d1"}),
        ):
            answer = await visitor.send(path, **fields)
            assert answer.status_code == 409
            assert "Not on this backend" in check_page(answer)


@pytest.mark.parametrize("path", [*PAGES[:4], "/errors", "/job?id=d1"])
async def test_while_the_server_is_away_the_console_stays_and_says_so(path: str) -> None:
    worker = Worker()
    await stock(worker)
    names = ("counts", "queues", "jobs", "job", "trace", "pools")
    flaky = FlakyBackend(worker.backend(), {name: [error] for name in names})
    async with visiting(store_of(flaky)) as visitor:
        # When it is asked while the server is away
        answer = await visitor.get(path)
        # Then it says so, and asks again by itself
        assert answer.status_code == 503
        page = check_page(answer)
        assert "The server is away" in page
        assert 'data-hx-trigger="look"' in page
        # And when the server is back, so is the page
        for _ in names:
            answer = await visitor.get(path)
        check_page(answer)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (BackendUnavailable("redis://u:hunter2@host/ is away"), 503, "unavailable"),
        (BackendRefused("NOPERM"), 502, "refused"),
        (RuntimeError("a bug with hunter2 in it"), 500, "internal"),
    ],
)
async def test_failures_are_typed_for_programs_and_tell_no_secrets(failure: Exception, status: int, kind: str) -> None:
    class Broken(Shy):
        async def counts(self) -> Any:
            raise failure

    async with visiting(store_of(Broken(Worker().backend()))) as visitor:
        answer = await visitor.get("/api/v1/counts")
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        page = await visitor.get("/")
        assert page.status_code == status
        assert CANARY not in answer.text + check_page(page)


async def test_a_server_that_never_answers_keeps_nobody_waiting() -> None:
    class Silent(Shy):
        async def counts(self) -> Any:
            await SystemClock().sleep(3600)

    async with visiting(store_of(Silent(Worker().backend())), patience=0.01) as visitor:
        answer = await visitor.get("/")
        assert answer.status_code == 503
        assert "did not answer" in answer.text


def test_numbers_that_json_does_not_know_are_null() -> None:
    inner = {"far": [float("inf"), 1.5], "none": float("nan"), "text": "nan"}
    told = json.loads(Json({"rows": ({"at": -float("inf")}, inner)}).body)
    assert told == {"rows": [{"at": None}, {"far": [None, 1.5], "none": None, "text": "nan"}]}


# where it is


async def test_behind_a_base_path_every_address_has_it() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, base_path="/ops/jobs/") as visitor:
        for prefix in ("/ops/jobs", ""):  # a proxy may keep it, or take it away
            for path in (*PAGES, "/job?id=d1", "/login"):
                page = await visitor.read(prefix + path)
                addresses = {part.split('"')[0] for part in page.replace('action="', 'href="').split('href="')[1:]}
                assert all(address.startswith(("/ops/jobs/", "#")) for address in addresses), addresses
        answer = await visitor.send("/ops/jobs/act/queue", queue="letters", act="pause")
        assert answer.url.path == "/ops/jobs/queues"
        assert "paused letters" in text_of(answer.text)


@pytest.mark.parametrize("base", ["/jobs", "/queues", "/login"])
async def test_a_base_path_called_like_a_page_hides_none(base: str) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, base_path=base) as visitor:
        for path in (*PAGES, "/login"):
            # Whether a proxy keeps the base or takes it away
            kept, taken = [headline(await visitor.read(prefix + path)) for prefix in (base, "")]
            assert kept == taken, path


async def test_it_can_be_mounted_in_another_application() -> None:
    worker = Worker()
    await stock(worker)
    from httpx2 import ASGITransport, AsyncClient

    app = Starlette(routes=[Mount("/jobs", app=Console(worker))])
    async with AsyncClient(transport=ASGITransport(app, client=("127.0.0.1", 1)), base_url=ADDRESS) as client:
        page = check_page(await client.get("/jobs/errors"))
        assert 'href="/jobs/queues"' in page
        assert (await client.get("/jobs/static/console.css")).status_code == 200


async def test_the_first_load_is_small() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        files = ("console.css", "console.js", "htmx.min.js", "note.svg")
        answers = [await visitor.get(f"/static/{name}", headers={"Accept-Encoding": "gzip"}) for name in files]
        page = await visitor.get("/")
        packed = sum(int(answer.headers["content-length"]) for answer in [*answers, page])
        assert packed <= 60_000
