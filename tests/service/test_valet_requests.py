"""Every request of Valet's specification is answered as its table says."""

from __future__ import annotations

from typing import Any, cast

import pytest
from httpx2 import Response

from service.browser import Browser, asking
from service.stage import Firm
from service.valet_requests import CASES, GIVEN, JSON, ROUTES, Case
from worksong.faces.http import HttpFace
from worksong.faces.http.valet import Valet
from worksong.faces.http.views import Viewer


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_is_asked_is_answered_as_the_table_says(firm: Firm, case: Case) -> None:
    async with asking(HttpFace(firm.service)) as browser:
        names = await _given(firm, browser, case.given)
        method, path = _filled(case.ask, names).split(" ")
        answer = await browser.client.request(method, path, content=case.body, headers=dict(case.sends))

        assert answer.status_code == case.status, answer.text
        assert {name: answer.headers.get(name) for name in case.headers} == case.headers
        _check_body(case, answer, names)
        if case.kept is not None:
            assert (len(await firm.service.jobs()), len(await firm.service.pipelines())) == case.kept


def test_each_route_and_each_of_its_codes_has_a_row(firm: Firm) -> None:
    # Given the routes as the service tells of them, and the codes that Valet documents for each
    told = {f"{one.method} {one.path}": set(one.answers) for one in Valet(firm.service, _viewer(firm)).routes}
    found: dict[str, set[int]] = {route: set() for route in told}
    for case in CASES.values():
        method, path = case.ask.partition("?")[0].split(" ")
        parts = [part if part.isalpha() else "{id}" for part in path.split("/")[1:]]
        route = f"{method} /{'/'.join(parts)}"
        if route in found:
            found[route].add(case.status)
    # Then there is a row for each; that of a key used otherwise is no matter of Valet's
    missing = {route: codes - found[route] for route, codes in told.items()}
    assert {route: codes for route, codes in missing.items() if codes} == {
        "POST /api/jobs": {409},
        "POST /api/pipelines": {409},
    }
    assert len({case.ask for case in ROUTES}) > len(told)


def _viewer(firm: Firm) -> Viewer:
    return Viewer(firm.worker.registry, 1.0)


async def _given(firm: Firm, browser: Browser, what: str) -> dict[str, str]:
    """Create it, let it end, and answer its ids."""
    if not what:
        return {}
    path, body = GIVEN[what]
    created = (await browser.client.post(path, content=body)).json()
    jobs = created.get("jobs", [created])
    for job in jobs if what != "later" else ():
        if (await firm.ended(job["id"])).failure_reason:
            break  # those behind it do not run
    return _ids(created)


def _ids(created: Any) -> dict[str, str]:
    """What rows call them."""
    if "jobs" in created:
        return {"pipeline": created["id"], "first": created["jobs"][0]["id"]}
    return {"job": created["id"]}


def _check_body(case: Case, answer: Response, names: dict[str, str]) -> None:
    is_json = answer.headers.get("content-type") == JSON
    if case.answer is None:
        assert answer.content == b""
    elif case.status < 300:
        assert is_json
        told = answer.json()
        _check_same(told, case.answer, names | _ids(told) if case.status == 202 else names)
    elif is_json:
        told = answer.json()
        assert (told["code"], told["error"], set(told)) == (case.status, True, {"code", "error", "message"})
        assert case.answer is ... or told["message"] == _filled(case.answer, names)
    else:
        assert case.answer is ... or answer.text == case.answer


def _check_same(found: Any, expected: Any, names: dict[str, str]) -> None:
    """Exactly these members: one more would be one that Valet leaves out."""
    if isinstance(expected, dict):
        members = cast("dict[str, Any]", expected)
        assert set(found) == set(members), found
        for name, value in members.items():
            _check_same(found[name], value, names)
    elif isinstance(expected, list):
        items = cast("list[Any]", expected)
        assert len(found) == len(items), found
        for one, value in zip(found, items, strict=True):
            _check_same(one, value, names)
    elif expected is not ...:
        assert found == (_filled(expected, names) if isinstance(expected, str) else expected)


def _filled(text: str, names: dict[str, str]) -> str:
    for name, record_id in names.items():
        text = text.replace(f"{{{name}}}", record_id)
    return text
