"""The door of the service: who comes in, from where, how often, and with what."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from service.browser import ADDRESS, asking
from service.leave import HTTP
from service.scenarios import NOBODY, job
from service.stage import Firm, a_job
from worksong import ConfigError
from worksong.faces.asgi import audit
from worksong.faces.asgi.headers import HEADERS
from worksong.faces.http import HttpFace, Limits
from worksong.faces.http.answers import Route
from worksong.faces.web import Console
from worksong.metrics import Metrics
from worksong.service.access import Access, Scope, accepted, accepted_digest, new_token
from worksong.service.rates import Buckets, Rate
from worksong.testing import FakeClock

TOKENS = {scope: f"{scope}-token-0123456789" for scope in Scope}
PAST = accepted("late", [Scope.ADMIN], "late-token-0123456789", until=1.0)
STRANGERS = {
    "none": {},
    "wrong": {"Authorization": "Bearer nobody-has-this-token"},
    "empty": {"Authorization": "Bearer "},
    "other scheme": {"Authorization": f"Basic {TOKENS[Scope.ADMIN]}"},
    "expired": {"Authorization": "Bearer late-token-0123456789"},
    "sign of nobody": {"Cookie": "worksong=" + "0" * 64},
    "token as a sign": {"Cookie": f"worksong={TOKENS[Scope.ADMIN]}"},
    "in the query": {"X-Token": TOKENS[Scope.ADMIN]},
}


def access() -> Access:
    return Access(tokens=[*(accepted(scope, [scope], text) for scope, text in TOKENS.items()), PAST])


def bearer(scope: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


def faces(firm: Firm, **options: Any) -> HttpFace:
    """The service and the console under one roof."""
    known = access()
    return HttpFace(firm.service, access=known, console=Console(firm.worker, access=known), **options)


async def ask(browser: Any, route: Route, headers: dict[str, str], job_id: str = NOBODY) -> Any:
    """Ask a route as it wants to be asked, as far as that matters at the door."""
    return await browser.client.request(route.method, route.path.replace("{id}", job_id), headers=headers)


@pytest.mark.parametrize("credential", STRANGERS.values(), ids=STRANGERS)
async def test_no_route_answers_a_stranger(firm: Firm, credential: dict[str, str]) -> None:
    face = faces(firm)
    for route in face.routes.all:
        async with asking(face, client=(NOBODY, 1)) as browser:
            answer = await ask(browser, route, credential)
        if HTTP[f"{route.method} {route.path}"] is None:
            assert answer.status_code == 200, route
        else:
            # After some wrong tokens nobody at that address is compared any more
            assert answer.status_code in (401, 429), route
            assert "WWW-Authenticate" in answer.headers or answer.status_code == 429
        assert firm.runs == []
    assert await firm.service.jobs() == []


def test_each_route_has_a_row_in_the_table_of_who_may_ask_it(firm: Firm) -> None:
    metrics = Metrics(firm.worker)
    face = faces(firm, metrics=metrics)
    metrics.close()
    assert {f"{route.method} {route.path}": route.scope for route in face.routes.all} == HTTP


@pytest.mark.parametrize("scope", Scope)
async def test_every_token_opens_what_its_scope_says_and_nothing_else(firm: Firm, scope: Scope) -> None:
    face = faces(firm)
    async with asking(face) as browser:
        for route in face.routes.all:
            answer = await ask(browser, route, bearer(scope))
            needed = HTTP[f"{route.method} {route.path}"]
            may = needed is None or scope in (needed, Scope.ADMIN)
            assert (answer.status_code == 403) is not may, (route.method, route.path, answer.status_code)
            assert answer.status_code not in (401, 500)


@pytest.mark.parametrize(
    ("scope", "looks", "orders"),
    [
        (Scope.ENQUEUE, 401, 401),
        (Scope.READ, 200, 403),
        (Scope.MANAGE, 200, 409),
        (Scope.ADMIN, 200, 409),
    ],
)
async def test_the_console_under_the_same_roof_knows_the_same_tokens(
    firm: Firm, scope: Scope, looks: int, orders: int
) -> None:
    async with asking(faces(firm)) as browser:
        page = await browser.get("/queues", headers=bearer(scope), follow_redirects=False)
        counts = await browser.get("/api/v1/counts", headers=bearer(scope))
        order = await browser.post("/api/v1/queues", {"queue": "x", "act": "x"}, headers=bearer(scope))
    assert page.status_code == (looks if looks == 200 else 303)
    assert counts.status_code == looks
    assert order.status_code in (orders, 400 if orders == 409 else orders)


async def test_under_one_roof_no_route_is_there_twice(firm: Firm) -> None:
    face = faces(firm)
    async with asking(face) as browser:
        for path in ("/api/v1/jobs", "/api/v1/queues", "/", "/static/console.css", "/login"):
            assert face.routes.find("GET", path) is None
            answer = await browser.get(path, headers=bearer(Scope.ADMIN))
            assert answer.status_code == 200, path
        assert (await browser.get("/healthz")).status_code == 200
        assert (await browser.get("/api/nowhere", headers=bearer(Scope.READ))).text == "404 page not found"
        assert (await browser.get("/api/nowhere")).status_code == 401
        assert (await browser.get("/api/v1/nowhere", headers=bearer(Scope.READ))).status_code == 404


async def test_who_signed_in_at_the_console_may_look_and_not_write(firm: Firm) -> None:
    face = faces(firm)
    sign = access().sign_for(TOKENS[Scope.READ])
    cookie = {"Cookie": f"worksong={sign}"}
    async with asking(face) as browser:
        assert (await browser.get("/api/jobs", headers=cookie)).status_code == 200
        assert (await browser.post("/api/jobs", job(), headers=cookie)).status_code == 401
    assert await firm.service.jobs() == []


# where it comes from


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "127.0.0.1@evil.example", "a b"])
async def test_it_answers_to_its_own_names_only(firm: Firm, host: str) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        for path in ("/healthz", "/api/jobs", "/api/nowhere"):
            assert (await browser.get(path, headers={"Host": host})).status_code == 421


@pytest.mark.parametrize("host", ["jobs.example", "JOBS.example:8080", "localhost", "[::1]:8080"])
async def test_names_of_this_machine_and_allowed_ones_are_its_own(firm: Firm, host: str) -> None:
    async with asking(HttpFace(firm.service, allowed_hosts=["Jobs.example"])) as browser:
        assert (await browser.get("/api/jobs", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (("192.0.2.7", 1), {}),
        (("127.0.0.1", 1), {"X-Forwarded-For": "192.0.2.7"}),
        (("127.0.0.1", 1), {"Via": "1.1 proxy"}),
    ],
)
async def test_without_tokens_only_this_machine_is_answered(firm: Firm, client: Any, headers: dict[str, str]) -> None:
    async with asking(HttpFace(firm.service), client=client) as browser:
        assert (await browser.post("/api/jobs", job(), headers=headers)).status_code == 403
    async with asking(HttpFace(firm.service, insecure_no_auth=True), client=client) as browser:
        assert (await browser.post("/api/jobs", job(), headers=headers)).status_code == 202


@pytest.mark.parametrize(
    "sender",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example"},
    ],
)
async def test_no_page_of_others_creates_anything(firm: Firm, sender: dict[str, str]) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        answer = await browser.post("/api/jobs", job(), headers=sender)
        preflight = await browser.client.options(
            "/api/jobs", headers={**sender, "Access-Control-Request-Method": "POST"}
        )
    assert (answer.status_code, preflight.status_code) == (403, 403)
    assert "access-control-allow-origin" not in answer.headers
    assert await firm.service.jobs() == []


@pytest.mark.parametrize("sender", [{"Origin": ADDRESS}, {"Sec-Fetch-Site": "same-origin"}, {}])
async def test_pages_of_its_own_and_programs_may_ask(firm: Firm, sender: dict[str, str]) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        assert (await browser.post("/api/jobs", job(), headers=sender)).status_code == 202


@pytest.mark.parametrize(("origins", "told"), [(["*"], "*"), (["https://app.example"], "https://app.example")])
async def test_pages_of_allowed_origins_may_ask_as_with_valet(firm: Firm, origins: list[str], told: str) -> None:
    page = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    async with asking(HttpFace(firm.service, access=access(), allowed_origins=origins)) as browser:
        preflight = await browser.client.options("/any", headers={**page, "Access-Control-Request-Method": "POST"})
        answer = await browser.post("/api/jobs", job(), headers={**page, **bearer(Scope.ENQUEUE)})
        refused = await browser.post("/api/jobs", job(), headers=page)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD"
    assert preflight.headers["access-control-max-age"] == "43200"
    assert "access-control-allow-credentials" not in preflight.headers
    assert [one.headers["access-control-allow-origin"] for one in (preflight, answer, refused)] == [told] * 3
    assert (answer.status_code, refused.status_code) == (202, 401)


async def test_every_answer_has_the_headers_that_protect_it(firm: Firm) -> None:
    face = faces(firm)
    async with asking(face) as browser:
        for route in face.routes.all:
            for credential in ({}, bearer(Scope.ADMIN)):
                answer = await ask(browser, route, credential)
                if route.path != "/api/docs":
                    assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS), route.path
                assert "unsafe" not in answer.headers["content-security-policy"]
                assert "server" not in answer.headers


# how much, and how often


async def heard(face: HttpFace, came: Iterator[Message], *headers: tuple[bytes, bytes]) -> int:
    """The status of the answer to a body that comes so."""
    said: list[Message] = []

    async def receive() -> Message:
        return next(came)

    async def send(message: Message) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/jobs", "query_string": b"", "client": ("127.0.0.1", 1)}
    await face({**scope, "headers": [(b"host", b"localhost"), *headers]}, receive, send)
    return int(said[0]["status"])


def chunks(size: int, count: int) -> Iterator[Message]:
    for _ in range(count):
        yield {"type": "http.request", "body": b"x" * size, "more_body": True}
    pytest.fail("it was read on, although it was too large")


async def test_a_body_is_read_only_as_far_as_it_may_be_long(firm: Firm) -> None:
    face = HttpFace(firm.service, limits=Limits(body=1000))
    assert await heard(face, chunks(100, 11)) == 413
    assert await heard(face, chunks(0, 0), (b"content-length", b"1001")) == 413
    assert await heard(face, chunks(0, 0), (b"content-length", b"9" * 5000)) == 413


async def test_a_body_that_was_cut_off_creates_nothing(firm: Firm) -> None:
    came = iter([{"type": "http.request", "body": b'{"name":', "more_body": True}, {"type": "http.disconnect"}])
    assert await heard(HttpFace(firm.service), came) == 400
    assert await firm.service.jobs() == []


async def test_two_hosts_are_none(firm: Firm) -> None:
    assert await heard(HttpFace(firm.service), iter([]), (b"host", b"localhost")) == 421


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    clock = FakeClock()
    firm = Firm(clock=clock)
    face = HttpFace(firm.service, access=access(), limits=Limits(rate=Rate(2.0, 3)))
    async with asking(face) as browser:
        read, other = bearer(Scope.READ), bearer(Scope.MANAGE)
        first = [(await browser.get("/api/tasks", headers=read)).status_code for _ in range(3)]
        late = await browser.get("/api/tasks", headers=read)
        others = await browser.get("/api/tasks", headers=other)
        clock.advance(0.5)
        again = [(await browser.get("/api/tasks", headers=read)).status_code for _ in range(2)]
    assert first == [200, 200, 200]
    assert (late.status_code, late.headers["retry-after"]) == (429, "1")
    assert others.status_code == 403
    assert again == [200, 429]
    await firm.service.stop()


async def test_tokens_are_not_guessed_for_long() -> None:
    clock = FakeClock()
    firm = Firm(clock=clock)
    async with asking(HttpFace(firm.service, access=access()), client=("192.0.2.7", 1)) as browser:
        wrong = {"Authorization": "Bearer a-guess-0123456789"}
        guesses = [(await browser.get("/api/tasks", headers=wrong)).status_code for _ in range(11)]
        right = await browser.get("/api/tasks", headers=bearer(Scope.READ))
        clock.advance(60.0)
        later = await browser.get("/api/tasks", headers=bearer(Scope.READ))
    assert guesses == [401] * 10 + [429]
    assert (right.status_code, later.status_code) == (429, 200)


async def test_who_guesses_locks_out_nobody_who_was_let_in_before_from_the_same_address() -> None:
    # Given two callers behind one address, one of whom was let in
    firm = Firm(clock=FakeClock())
    async with asking(HttpFace(firm.service, access=access()), client=("192.0.2.7", 1)) as browser:
        before = await browser.get("/api/tasks", headers=bearer(Scope.READ))
        # When the other one guesses
        wrong = {"Authorization": "Bearer a-guess-0123456789"}
        guesses = [(await browser.get("/api/tasks", headers=wrong)).status_code for _ in range(11)]
        # Then the first one is let in all the same, and a good guess is not
        known = await browser.get("/api/tasks", headers=bearer(Scope.READ))
        good_guess = await browser.get("/api/tasks", headers=bearer(Scope.ADMIN))
    assert guesses[-1] == 429
    assert (before.status_code, known.status_code, good_guess.status_code) == (200, 200, 429)


async def test_more_at_once_than_there_is_room_for_are_told_to_come_back(firm: Firm) -> None:
    async with asking(HttpFace(firm.service, limits=Limits(at_once=0))) as browser:
        answer = await browser.get("/api/tasks")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_probes_are_answered_whatever_goes_on(firm: Firm) -> None:
    async with asking(HttpFace(firm.service, limits=Limits(at_once=0))) as browser:
        answers = [(await browser.get(path)).status_code for path in ("/healthz", "/readyz")]
    assert answers == [200, 200]


def test_a_bucket_fills_again_and_forgets_those_who_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worksong.service.rates.MOST", 3)
    buckets = Buckets(Rate(1.0, 2))
    assert [buckets.wait("a", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert buckets.wait("a", 0.5) == 0.5
    assert buckets.wait("a", 1.0) == 0.0
    for number, caller in enumerate("bcdef"):
        buckets.wait(caller, 1.0 + number)
    assert len(buckets._levels) <= 3
    for rate in (Rate(0.0, 1), Rate(1.0, 0)):
        with pytest.raises(ConfigError, match="a rate is"):
            Buckets(rate)


# tokens


@pytest.mark.parametrize("text", ["", "short", "has spaces in it, and more", "nicht-\u00e4scii-0123456789"])
def test_a_token_that_could_be_guessed_or_mistyped_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="16 printable characters"):
        accepted("me", [Scope.READ], text)


def test_tokens_have_names_scopes_and_digests() -> None:
    text = new_token()
    plain = accepted("me", [Scope.READ], text)
    known = accepted_digest("me", [Scope.READ], f"sha256:{plain.digest.hex()}")
    assert (known.digest, known.caller) == (plain.digest, plain.caller)
    for wrong, told in (
        (("a b", [Scope.READ], "0" * 64), "no name"),
        (("me", [], "0" * 64), "give it scopes"),
        (("me", [Scope.READ], "0" * 63), "64 hex digits"),
        (("me", [Scope.READ], "x" * 64), "64 hex digits"),
    ):
        with pytest.raises(ConfigError, match=told):
            accepted_digest(*wrong)
    with pytest.raises(ConfigError, match="two of the tokens are equal"):
        Access(tokens=[plain, accepted("you", [Scope.ADMIN], text)])


# the log of what was done


async def test_every_write_is_noted_with_who_did_it_and_those_refused_too(
    firm: Firm, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "worksong.audit"):
        async with asking(faces(firm), client=("192.0.2.7", 1)) as browser:
            created = (await browser.post("/api/jobs", job(), headers=bearer(Scope.ENQUEUE))).json()["id"]
            await browser.get("/api/jobs", headers=bearer(Scope.READ))
            await browser.client.delete(f"/api/jobs/{created}", headers=bearer(Scope.READ))
            await browser.post("/api/jobs", job(), headers={})
            await browser.client.delete("/api/jobs/%0a%1b[31m", headers=bearer(Scope.MANAGE))
    noted = [record.getMessage() for record in caplog.records if record.name == "worksong.audit"]
    assert all(line.isprintable() and line.isascii() for line in noted)
    lines = [json.loads(line) for line in noted]
    assert [(line["who"], line["did"].partition(" ")[0], line["status"]) for line in lines] == [
        ("enqueue", "POST", 202),
        ("read", "DELETE", 403),
        ("nobody", "POST", 401),
        ("manage", "DELETE", 404),
    ]
    assert lines[0] == {
        "who": "enqueue",
        "from": "192.0.2.7",
        "did": "POST /api/jobs",
        "status": 202,
        "count": 1,
        "ids": [created],
    }


def test_a_line_of_the_audit_is_a_record_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    made = logging.getLogRecordFactory()

    class Own(logging.LogRecord):
        """As an application may want its records to be."""

    def note() -> None:
        audit.note("me", "POST /api/jobs", 202)

    # Given lines of two threads, and of an application that makes records of its own
    with caplog.at_level(logging.INFO, "worksong.audit"):
        began = time.time()
        note()
        other = threading.Thread(target=note, name="another")
        other.start()
        other.join()
        logging.setLogRecordFactory(Own)
        try:
            note()
        finally:
            logging.setLogRecordFactory(made)
        usual = logging.getLogger("worksong.audit").makeRecord("", logging.INFO, "", 0, "", (), None)

    # Then each tells what all records do, of its own time and thread
    mine, others, own = [record for record in caplog.records if record.name == "worksong.audit"]
    assert set(vars(usual)) <= set(vars(mine))
    assert (mine.threadName, others.threadName) == (threading.current_thread().name, "another")
    assert began <= mine.created <= others.created <= usual.created
    assert mine.relativeCreated <= usual.relativeCreated
    assert mine.getMessage() == others.getMessage() == own.getMessage()
    assert isinstance(own, Own)
    assert not isinstance(mine, Own)


async def test_a_line_of_the_audit_names_the_task_that_wrote_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given records that name a task, as Python does from 3.12 on
    fields = {
        **vars(logging.makeLogRecord({"name": audit.log.name, "levelno": logging.INFO})),
        "taskName": "of another request",
    }
    monkeypatch.setattr(audit, "_alike", lambda *_: fields)

    async def note() -> None:
        audit.note("me", "POST /api/jobs", 202)

    # When lines are written in a task, and in a thread that has none
    with caplog.at_level(logging.INFO, "worksong.audit"):
        await asyncio.create_task(note(), name="of this one")
        await asyncio.to_thread(audit.note, "me", "POST /api/jobs", 202)

    # Then each names its own
    noted = [record for record in caplog.records if record.name == "worksong.audit"]
    assert [vars(record)["taskName"] for record in noted] == ["of this one", None]


async def test_orders_at_the_console_are_noted_too(firm: Firm, caplog: pytest.LogCaptureFixture) -> None:
    order = {"queue": "x", "act": "pause"}
    sign = {"Cookie": f"worksong={access().sign_for(TOKENS[Scope.READ])}"}
    with caplog.at_level(logging.INFO, "worksong.audit"):
        async with asking(faces(firm)) as browser:
            await browser.post("/api/v1/queues", order, headers=bearer(Scope.MANAGE))
            await browser.post("/api/v1/queues", order, headers=sign)
            await browser.get("/api/v1/queues", headers=bearer(Scope.READ))
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "worksong.audit"]
    assert [(line["who"], line["did"], line["status"]) for line in lines] == [
        ("manage", "POST /api/v1/queues", 400),
        ("read", "POST /api/v1/queues", 403),
    ]


async def test_a_server_starts_and_stops_the_outbox_with_itself(firm: Firm) -> None:
    said: list[str] = []
    came = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Message:
        return next(came)

    async def send(message: Message) -> None:
        said.append(message["type"])

    await HttpFace(firm.service)({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    job = await firm.service.create_job(a_job())
    assert (await firm.ended(job.id)).failure_reason == ""
