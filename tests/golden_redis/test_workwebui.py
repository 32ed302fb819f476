"""The JSON routes of gocraft/work's web UI, beside the recorded answers of the original on the same Redis."""

from __future__ import annotations

import json
from typing import Any

import pytest

from faces.visitor import SAME, visiting
from golden_redis.conftest import Open
from golden_redis.stored import Case, Stored, recordings
from worksong.service.desk import Store
from worksong.testing.clock import FakeClock

CASES = {name: case for name, case in recordings().items() if name.startswith("webui_") and name != "webui_misc"}
OURS = {"webui_delete_dead": {4}, "webui_populated": {8, 9}, "webui_error_body": {0}}
"""Requests that are answered in other words: a wrong number, a method that is not there, an error of the server."""
HIDDEN = "unique_key"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_the_answers_are_those_of_the_original(case: Case, stored: Stored, opened: Open) -> None:
    # Given what the original found
    stored.load(case.before)
    backend = opened(case.namespace)

    # When each request comes, then the answer is its own
    async with visiting(Store(lambda: backend, FakeClock(case.clock), "redis://", case.namespace)) as visitor:
        for number, expected in enumerate(case.result):
            headers = {"Accept": "application/json"}
            answer = await visitor.client.request(expected["method"], expected["path"], headers=headers)
            if number in OURS.get(case.name, ()) or expected["body"].startswith('{"error": "strconv'):
                assert answer.status_code >= 400
                continue
            if expected["status"] == 404:
                assert answer.status_code in (404, 500)
                continue
            assert answer.status_code == expected["status"], answer.text
            assert answer.headers["content-type"] == expected["content_type"]
            if '"unique_key"' in expected["body"]:
                assert shown(answer.json()) == shown(json.loads(expected["body"]))
            else:
                assert answer.text == expected["body"]


def shown(answer: Any) -> Any:
    """Without what tells the arguments of a unique job."""
    for job in answer["jobs"]:
        job[HIDDEN] = "***"
    return answer


async def test_what_a_browser_sends_from_elsewhere_changes_nothing(stored: Stored, opened: Open) -> None:
    # Given a dead job, and a console that needs a token
    stored.load(CASES["webui_delete_dead"].before)
    backend = opened()
    path = "/delete_all_dead_jobs"
    operator, viewer = "operator-token-0123456789", "viewer-token-0123456789"
    async with visiting(
        Store(lambda: backend, FakeClock(1_700_000_000), "redis://", "work"), token=operator, viewer_token=viewer
    ) as visitor:
        # When requests come that are no operator's own, then each is refused
        bearer = {"Authorization": f"Bearer {operator}"}
        sign = {"Cookie": "worksong=" + "0" * 64}
        for status, headers in (
            (401, {}),
            (401, sign),
            (403, {"Authorization": f"Bearer {viewer}"}),
            (403, bearer | {"Sec-Fetch-Site": "cross-site"}),
            (403, bearer | {"Origin": "https://elsewhere.example"}),
            (403, bearer | sign),
        ):
            assert (await visitor.client.post(path, headers=headers)).status_code == status, headers
        assert stored.look("work:dead")["value"]

        # And an operator's program, or a page of the console, is obeyed
        assert (await visitor.client.post(path, headers=bearer)).status_code == 200
        assert (await visitor.client.post(path, headers=bearer | SAME)).status_code == 200


async def test_people_get_the_page_where_programs_get_json(stored: Stored, opened: Open) -> None:
    backend = opened()
    async with visiting(Store(lambda: backend, FakeClock(1_700_000_000), "redis://", "work")) as visitor:
        await visitor.read("/queues")
        assert (await visitor.get("/queues", headers={"Accept": "application/json"})).json() == []
