"""The console for WSGI: the same door, and the same answers, as those of ASGI."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from httpx2 import Client, WSGITransport

from faces.test_web_guard import BODIES, CREDENTIALS, FORMS, GETS, HEADERS, OPERATOR, VIEWER, requests
from faces.test_web_pages import stock
from faces.visitor import ADDRESS, SAME
from worksong import ConfigError, Worker
from worksong.faces.web import Role, WsgiConsole
from worksong.faces.web.guard import LARGEST
from worksong.faces.web.wsgi import ENVIRON

NEVER = 600.0
PAUSE = "/act/queue"
FIELDS = dict(FORMS)[PAUSE]


@contextmanager
def visiting(worker: Worker, *, address: str = "127.0.0.1", root: str = "", **options: Any) -> Iterator[Client]:
    """Somebody in front of the console, behind a server that insists on the rules of WSGI."""
    worker.background.call(stock(worker))
    console = validator(WsgiConsole(worker, patience=NEVER, **options))
    with Client(transport=WSGITransport(console, remote_addr=address, script_name=root), base_url=ADDRESS) as client:
        yield client


@pytest.mark.usefixtures("endless_guesses")
@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=list(CREDENTIALS))
def test_no_route_answers_without_a_token(credential: dict[str, str]) -> None:
    with visiting(Worker(), token=OPERATOR, viewer_token=VIEWER) as client:
        for method, path, options in requests():
            given = {**options.get("headers", {}), **credential}
            answer = client.request(method, path, **{**options, "headers": given})
            refused = 303 if method == "GET" and "/api/" not in path else 401
            assert answer.status_code == refused, path
            assert "charge" not in answer.text


@pytest.mark.parametrize(("token", "read_only"), [(VIEWER, False), (OPERATOR, True)])
def test_who_only_looks_sees_all_and_changes_nothing(token: str, read_only: bool) -> None:
    with visiting(Worker(), token=OPERATOR, viewer_token=VIEWER, read_only=read_only) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        for path in GETS[:-1]:
            assert client.get(path).status_code == (403 if path.endswith("/audit") else 200), path
        for method, path, options in requests():
            if method == "POST":
                assert client.request(method, path, **options).status_code == 403
        assert client.get("/api/v1/counts").json()["dead"] == 1


def test_an_operator_acts_by_forms_and_by_json() -> None:
    with visiting(Worker()) as client:
        assert client.post(PAUSE, data=FIELDS, headers=SAME).status_code == 303
        assert client.post("/api/v1/jobs", json=dict(BODIES)["/api/v1/jobs"]).status_code == 200
        counts = client.get("/api/v1/counts").json()
        assert (counts["dead"], counts["paused"]) == (0, ["default"])


def test_every_answer_has_the_headers_that_protect_it() -> None:
    with visiting(Worker(), token=OPERATOR) as client:
        for path in ("/", "/login", "/healthz", "/api/v1/counts", "/nowhere"):
            answer = client.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)


def test_below_a_path_its_links_begin_there() -> None:
    with visiting(Worker(), root="/back/büro".encode().decode("latin-1")) as client:
        page = client.get("/queues").text
        assert 'href="/back/büro/jobs"' in page
        assert client.get("/static/console.css").status_code == 200
        assert client.head("/queues").status_code == 200


@pytest.mark.parametrize(
    ("address", "headers"),
    [("10.0.0.5", {}), ("127.0.0.1", {"X-Forwarded-For": "10.0.0.5"}), ("127.0.0.1", {"Via": "x"})],
)
def test_without_a_token_only_this_machine_is_answered(address: str, headers: dict[str, str]) -> None:
    with visiting(Worker(), address=address) as client:
        assert client.get("/", headers=headers).status_code == 403


def test_another_name_is_not_answered() -> None:
    with visiting(Worker()) as client:
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421


# the application says who it is


def test_an_application_may_say_who_comes_in() -> None:
    roles = iter([Role.NOBODY, Role.VIEWER, Role.VIEWER, Role.OPERATOR])
    with visiting(Worker(), address="10.0.0.5", role_of=lambda scope: next(roles)) as client:
        client.headers["Host"] = "shop.example"
        assert client.get("/queues").status_code == 303
        assert "sign out" not in client.get("/queues").text
        assert client.post(PAUSE, data=FIELDS, headers=SAME).status_code == 403
        assert client.post(PAUSE, data=FIELDS, headers=SAME).status_code == 303


def test_it_is_asked_with_the_request_as_it_came() -> None:
    with visiting(Worker(), role_of=lambda scope: Role(int(scope[ENVIRON]["HTTP_X_ROLE"]))) as client:
        assert client.get("/", headers={"X-Role": "1"}).status_code == 200
        assert client.get("/", headers={"X-Role": "0"}).status_code == 303


def test_read_only_holds_whatever_it_says() -> None:
    with visiting(Worker(), role_of=lambda scope: Role.OPERATOR, read_only=True) as client:
        assert client.post(PAUSE, data=FIELDS, headers=SAME).status_code == 403


def test_tokens_and_an_application_that_knows_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="either for tokens or the application"):
        WsgiConsole(Worker(), token=OPERATOR, role_of=lambda scope: Role.VIEWER)


# bodies, as servers hand them over


def heard(body: bytes, **said: Any) -> int:
    """The status of an order with this body."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/act/jobs",
        "HTTP_SEC_FETCH_SITE": "same-origin",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body),
        **said,
    }
    return WsgiConsole(Worker()).answer(environ).status


@pytest.mark.parametrize(
    ("size", "said", "status"),
    [
        (LARGEST + 1, {"CONTENT_LENGTH": str(LARGEST + 1)}, 413),
        (LARGEST + 1, {"CONTENT_LENGTH": "9" * 40}, 413),
        (LARGEST + 1, {"wsgi.input_terminated": True}, 413),
        (10, {"CONTENT_LENGTH": "20"}, 400),
        (10, {"CONTENT_LENGTH": "-1"}, 400),
        (10, {}, 400),
    ],
)
def test_bodies_are_bounded_and_whole(size: int, said: dict[str, Any], status: int) -> None:
    assert heard(b"x" * size, **said) == status


def test_a_body_in_chunks_is_read_to_its_end() -> None:
    found = heard(b"state=dead&act=requeue&id=nobody", **{"wsgi.input_terminated": True})
    assert found == 303
