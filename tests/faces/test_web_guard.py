"""The door of the web console: who comes in, from where, and with what."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Message

from faces.test_web_pages import PAGES, QUESTIONS, stock
from faces.visitor import ADDRESS, SAME, check_page, visiting
from worksong import ConfigError, Worker
from worksong.faces.asgi.headers import HEADERS
from worksong.faces.asgi.origin import host_of, is_loopback
from worksong.faces.web import Console
from worksong.faces.web.guard import LARGEST
from worksong.service.access import Access, Caller, Role, Scope, accepted, accepted_digest
from worksong.service.passwords import User, hashed

OPERATOR, VIEWER = "operator-token-0123456789", "viewer-token-0123456789"
GETS = (*PAGES, "/job?id=d1", *(f"/api/v1{path}" for path in (*QUESTIONS, "/cron", "/job?id=d1")), "/nowhere")
FORMS = (
    ("/act/queue", {"queue": "default", "act": "pause"}),
    ("/act/jobs", {"state": "dead", "act": "requeue", "id": "d1"}),
    ("/act/pool", {"pool": "p", "act": "dismiss"}),
    ("/act/periodic", {"job": "report", "spec": "@daily"}),
    ("/act/trickle", {"trickle": "t"}),
    ("/act/group", {"state": "dead", "act": "delete", "handler": '"charge"', "error": '"x"'}),
)
BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/v1/cron", {"job": "report", "spec": "@daily"}),
    ("/api/v1/errors", {"state": "dead", "act": "delete", "handler": "charge", "error": "x"}),
    ("/api/v1/queues", {"queue": "default", "act": "pause"}),
    ("/api/v1/jobs", {"state": "dead", "act": "requeue", "ids": ["d1"]}),
)
CREDENTIALS = {
    "none": {},
    "wrong": {"Authorization": "Bearer nobody-has-this-token"},
    "empty": {"Authorization": "Bearer "},
    "other scheme": {"Authorization": f"Basic {OPERATOR}"},
    "sign of nobody": {"Cookie": "worksong=" + "0" * 64},
    "token as a sign": {"Cookie": f"worksong={OPERATOR}"},
    "broken cookie": {"Cookie": 'worksong="\\'},
}


def requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every route with a method that it answers."""
    yield from (("GET", path, {}) for path in GETS)
    yield from (("POST", path, {"data": fields, "headers": SAME}) for path, fields in FORMS)
    yield from (("POST", path, {"json": body}) for path, body in BODIES)


async def heard(
    console: Console, method: str, path: str, headers: dict[str, str], *, came: Iterator[Message], version: str = "1.1"
) -> tuple[int, bytes]:
    """What the console answers to a request as a server hands it over."""
    said: list[Message] = []

    async def receive() -> Message:
        return next(came)

    async def send(message: Message) -> None:
        said.append(message)

    given = {"host": "127.0.0.1", **headers}
    scope = {
        "type": "http",
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "client": ("127.0.0.1", 50000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
    }
    await console(scope, receive, send)
    return said[0]["status"], said[1]["body"]


@pytest.mark.usefixtures("endless_guesses")
@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=list(CREDENTIALS))
async def test_no_route_answers_without_a_token(credential: dict[str, str]) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, token=OPERATOR, viewer_token=VIEWER) as visitor:
        await visitor.get("/api/v1/counts", headers={"Authorization": f"Bearer {OPERATOR}"})  # it is known from now on
        for method, path, options in requests():
            given = {**options.get("headers", {}), **credential}
            answer = await visitor.client.request(method, path, **{**options, "headers": given})
            # Then a page leads to the sign-in, and all else is refused; nothing of the store is told
            refused = 303 if method == "GET" and "/api/" not in path else 401
            assert answer.status_code == refused, path
            assert "charge" not in answer.text
            assert "memory://" not in answer.text
        counts = (await visitor.get("/api/v1/counts", headers={"Authorization": f"Bearer {OPERATOR}"})).json()
        assert counts["dead"] == 1
        assert not counts["paused"]


@pytest.mark.parametrize(("token", "read_only"), [(VIEWER, False), (OPERATOR, True)])
async def test_who_only_looks_sees_all_and_changes_nothing(token: str, read_only: bool) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, token=OPERATOR, viewer_token=VIEWER, read_only=read_only) as visitor:
        visitor.client.headers["Authorization"] = f"Bearer {token}"
        for path in GETS[:-1]:
            assert (await visitor.get(path)).status_code == (403 if path.endswith("/audit") else 200), path
        for path in ("/queues", "/jobs?state=dead", "/job?id=d1", "/errors"):
            assert 'name="act"' not in await visitor.read(path)
        for method, path, options in requests():
            if method == "POST":
                assert (await visitor.client.request(method, path, **options)).status_code == 403
        assert (await visitor.json("/counts"))["dead"] == 1


async def test_a_token_is_given_once_and_its_sign_is_kept() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker, token=OPERATOR) as visitor:
        wrong = await visitor.send("/login", token="not-the-token-at-all")
        assert wrong.status_code == 401
        assert "No such token" in check_page(wrong)
        # When the right one is given
        answer = await visitor.client.post("/login", data={"token": OPERATOR}, headers=SAME)
        # Then the browser keeps a sign that is not the token, where no script and no other site can use it
        cookie = answer.headers["set-cookie"]
        assert OPERATOR not in cookie
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
        assert "sign out" in await visitor.read("/")
        # And signing out forgets it
        assert (await visitor.send("/logout", now="yes")).url.path == "/login"
        assert (await visitor.get("/")).status_code == 303


async def test_a_sign_in_over_tls_is_kept_for_tls_only() -> None:
    async with visiting(Worker(), token=OPERATOR, base="https://127.0.0.1") as visitor:
        answer = await visitor.client.post("/login", data={"token": OPERATOR}, headers=SAME)
        assert "Secure" in answer.headers["set-cookie"]


# from where


CROSS_SITE = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same site, other origin": {"Sec-Fetch-Site": "same-site"},
    "typed address": {"Sec-Fetch-Site": "none"},
    "foreign origin": {"Origin": "http://evil.example"},
    "null origin": {"Origin": "null"},
    "no address": {"Origin": "http://["},
    "other port": {"Origin": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("sender", CROSS_SITE.values(), ids=list(CROSS_SITE))
async def test_no_page_of_others_changes_anything(sender: dict[str, str]) -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        for path, fields in (*FORMS, ("/login", {"token": "x"}), ("/logout", {})):
            assert (await visitor.client.post(path, data=fields, headers=sender)).status_code in (403, 415)
        for path, body in BODIES:
            assert (await visitor.client.post(path, json=body, headers=sender)).status_code == 403
            disguised = await visitor.client.post(
                path, content=str(body), headers={**sender, "Content-Type": "text/plain"}
            )
            assert disguised.status_code == 415
        counts = await visitor.json("/counts")
        assert counts["dead"] == 1
        assert not counts["paused"]


async def test_a_form_without_any_word_of_a_browser_is_refused_and_one_with_its_origin_is_not() -> None:
    worker = Worker()
    await stock(worker)
    async with visiting(worker) as visitor:
        path, fields = FORMS[1]
        assert (await visitor.client.post(path, data=fields)).status_code == 403
        assert (await visitor.client.post(path, data=fields, headers={"Origin": ADDRESS})).status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a@localhost", "localhost:x", "[::1"])
async def test_it_answers_to_its_own_names_only(host: str) -> None:
    async with visiting(Worker()) as visitor:
        for path in (*GETS, "/healthz", "/static/console.css", "/login"):
            answer = await visitor.get(path, headers={"Host": host})
            assert answer.status_code == 421, path


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:4747", "jobs.example"])
async def test_names_of_this_machine_and_allowed_ones_are_its_own(host: str) -> None:
    async with visiting(Worker(), allowed_hosts=["Jobs.example"]) as visitor:
        assert (await visitor.get("/", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (("10.0.0.5", 1), {}),
        (("127.0.0.1", 1), {"X-Forwarded-For": "10.0.0.5"}),
        (("127.0.0.1", 1), {"Forwarded": "for=x"}),
        (("127.0.0.1", 1), {"X-Forwarded-Proto": "https"}),
        (("127.0.0.1", 1), {"X-Forwarded-Host": "jobs.example"}),
        (("127.0.0.1", 1), {"Via": "1.1 proxy"}),
        (("127.0.0.1", 1), {"X-Real-IP": "10.0.0.5"}),
    ],
)
async def test_without_a_token_only_this_machine_is_answered(client: Any, headers: dict[str, str]) -> None:
    async with visiting(Worker(), client=client) as visitor:
        assert (await visitor.get("/", headers=headers)).status_code == 403
    async with visiting(Worker(), client=client, token=OPERATOR) as visitor:
        given = {**headers, "Authorization": f"Bearer {OPERATOR}"}
        assert (await visitor.get("/", headers=given)).status_code == 200
    async with visiting(Worker(), client=client, insecure_no_auth=True) as visitor:
        assert (await visitor.get("/", headers=headers)).status_code == 200


@pytest.mark.parametrize(("version", "status"), [("1.0", 403), ("1.1", 200), ("2", 200)])
async def test_without_a_token_the_http_of_old_proxies_is_not_answered(version: str, status: int) -> None:
    nothing: Iterator[Message] = iter(())
    assert (await heard(Console(Worker()), "GET", "/healthz", {}, came=nothing, version=version))[0] == status
    guarded = Console(Worker(), token=OPERATOR)
    assert (await heard(guarded, "GET", "/healthz", {}, came=nothing, version=version))[0] == 200


# with what


async def test_every_answer_has_the_headers_that_protect_it() -> None:
    async with visiting(Worker(), token=OPERATOR) as visitor:
        for path in ("/", "/login", "/healthz", "/static/console.js", "/api/v1/counts", "/nowhere"):
            answer = await visitor.get(path)
            for name, value in HEADERS.items():
                if name != "Cache-Control" or not path.startswith("/static"):
                    assert answer.headers[name] == value, (path, name)
            assert "server" not in answer.headers


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", "application/json", ""])
async def test_forms_come_in_one_shape_only(kind: str) -> None:
    async with visiting(Worker()) as visitor:
        headers = {**SAME, "Content-Type": kind}
        assert (await visitor.client.post("/act/queue", content=b"a=b", headers=headers)).status_code == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (LARGEST + 1), 413),
        (b"id=%ff&state=dead&act=requeue", 400),
        (b"&".join([b"id=a"] * 2_001), 400),
        (b"\xff\xfe", 400),
        (b"state=dead&act=requeue", 400),
        (b"state=dead&act=explode&id=a", 400),
        (b"state=nowhere&act=requeue&id=a", 400),
        (b"", 400),
    ],
)
async def test_bodies_are_bounded_and_read_with_care(body: bytes, status: int) -> None:
    async with visiting(Worker()) as visitor:
        headers = {**SAME, "Content-Type": "application/x-www-form-urlencoded"}
        answer = await visitor.client.post("/act/jobs", content=body, headers=headers)
        assert answer.status_code == status
        check_page(answer)


async def test_a_body_that_was_cut_off_is_no_order() -> None:
    # Given a dead job, and an order whose sender goes away amid the ids
    worker = Worker()
    await stock(worker)
    came: Iterator[Message] = iter(
        [
            {"type": "http.request", "body": b"act=delete&sure=yes&state=dead&id=d1", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    headers = {"content-type": "application/x-www-form-urlencoded", **SAME}
    # When it is heard
    status, text = await heard(Console(worker), "POST", "/act/jobs", headers, came=came)
    # Then it is refused, and what came of it does nothing
    assert status == 400
    assert b"did not arrive whole" in text
    async with visiting(worker) as visitor:
        assert (await visitor.json("/counts"))["dead"] == 1


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b"[" * 50_000, b'{"ids": "d1"}', b'{"ids": [1]}', b'{"state": 7}', b"null"]
)
async def test_json_that_says_nothing_sensible_is_refused(body: bytes) -> None:
    async with visiting(Worker()) as visitor:
        answer = await visitor.client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "bad_request"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(method: str) -> None:
    async with visiting(Worker()) as visitor:
        for path in ("/", "/act/jobs", "/api/v1/jobs"):
            assert (await visitor.client.request(method, path, headers=SAME)).status_code in (405, 415)


# tokens and addresses


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "has spaces in it, and more", "nicht-\u00e4scii-0123456789"])
def test_a_token_that_could_be_guessed_or_mistyped_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="16 printable characters"):
        Console(Worker(), token=token)


def test_operators_and_viewers_have_different_tokens() -> None:
    with pytest.raises(ConfigError, match="different"):
        Console(Worker(), token=OPERATOR, viewer_token=OPERATOR)


def test_a_sign_is_worth_what_its_token_is() -> None:
    access = Access(OPERATOR, VIEWER)
    for token, role in ((OPERATOR, Role.ADMIN), (VIEWER, Role.VIEWER)):
        sign = access.sign_for(token)
        assert sign
        assert access.role_of_sign(sign) is role
        assert access.role_of(sign) is Role.NOBODY
        # And with another token it is worth nothing any more
        assert Access("another-token-0123456789").role_of_sign(sign) is Role.NOBODY


def test_no_sign_follows_from_what_a_configuration_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a token, another one of which only the digest is known, and a user
    plain = accepted("me", [Scope.ADMIN], OPERATOR)
    known = accepted_digest("me", [Scope.ADMIN], plain.digest.hex())
    user = User(Caller("eve", frozenset({Scope.ADMIN})), hashed("correct horse battery"))
    doors = [
        (plain.digest, Access(tokens=[plain])),
        (known.digest, Access(tokens=[known])),
        (user.key, Access(users=[user])),
    ]
    # When somebody who has read digests makes signs of them, then they are worth nothing
    for key, access in doors:
        forged = hmac.new(key, b"worksong console, signed in", "sha256").hexdigest()
        assert access.role_of_sign(forged) is Role.NOBODY
    # And those that were given are
    open_to = Access(tokens=[known], users=[user])
    signs = [Access(tokens=[plain]).sign_for(OPERATOR), open_to.sign_for(OPERATOR), open_to.sign_for_user(user)]
    assert [open_to.role_of_sign(sign or "") for sign in signs] == [Role.NOBODY, Role.ADMIN, Role.ADMIN]
    # In another process, that of the token is
    monkeypatch.setattr("worksong.service.access._SECRET", b"another")
    both = Access(tokens=[plain], users=[user])
    assert [both.role_of_sign(sign or "") for sign in signs] == [Role.ADMIN, Role.NOBODY, Role.NOBODY]


@pytest.mark.parametrize("path", ["jobs", "/a b", '/"', "/a?b", "//\u00e4", "/api", "/api/v1/", "/static", "/act"])
def test_a_base_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="base path"):
        Console(Worker(), base_path=path)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost:80", "localhost"),
        ("[::1]:80", "::1"),
        ("A.example", "a.example"),
        ("a/b", ""),
        ("a:b", ""),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("x", False)]
)
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
