"""The description of the service keeps its word: whatever is sent, the answer is one of those it tells of."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from httpx2 import ASGITransport, AsyncClient
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from faces.visitor import check_page
from service.browser import ADDRESS, asking
from service.stage import Firm, a_job, a_pipeline
from worksong.faces.http import HttpFace, Limits
from worksong.faces.http.document import document
from worksong.faces.http.handbook import page
from worksong.testing import drain

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "0"))
"""For each operation; `SCHEMA_EXAMPLES=500` for a thorough look at other ones each time. 0: the same few always."""
FEW = 6
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def operations() -> dict[str, Any]:
    """All of them, by method and path; who may ask what is tried elsewhere."""
    told = document(HttpFace(Firm().service).routes.all)
    for methods in told["paths"].values():
        for one in methods.values():
            one.pop("security", None)
    return {found.ok().label: found.ok() for found in schemathesis.openapi.from_dict(told).get_all_operations()}


OPERATIONS = operations()


class Fuzzer:
    """A firm with some jobs behind it, and a loop in which the cases of Hypothesis are asked."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        firm = Firm()
        self.ids = itertools.cycle(self.runner.run(_stock(firm)))
        drain(firm.worker)
        transport = ASGITransport(HttpFace(firm.service, limits=Limits(wait=0.01)), client=("127.0.0.1", 1))
        self.client, self.firm = AsyncClient(transport=transport, base_url=ADDRESS), firm

    def ask(self, case: Any, *, sound: bool) -> None:
        """Ask, with `sound` cases mostly about what there is, and compare the answer with the description."""
        known = next(self.ids)
        if sound and known and "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = known
        told = case.as_transport_kwargs(base_url=ADDRESS)
        options = {name: told[name] for name in ("params", "json", "headers") if told.get(name) is not None}
        if told.get("data") is not None:
            options["content"] = told["data"]
        answer = self.runner.run(self.client.request(told["method"], told["url"], **options))
        case.validate_response(answer, checks=CHECKS)

    def close(self) -> None:
        self.runner.run(self.firm.service.stop())
        self.runner.run(self.client.aclose())
        self.runner.close()


async def _stock(firm: Firm) -> list[str | None]:
    """Ids of what there is, and of what there is not."""
    found: list[str | None] = []
    for task in ("double", "fail"):
        job = await firm.service.create_job(a_job(task))
        pipeline, _ = await firm.service.create_pipeline(a_pipeline(task, "double"))
        found += [job.id, None, pipeline.id]
    return found


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    fuzzer = Fuzzer()
    yield fuzzer
    fuzzer.close()


@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_sent_the_answer_is_one_that_was_told_of(label: str, fuzzer: Fuzzer) -> None:
    operation = OPERATIONS[label]
    can_be_wrong = {"parameters", "requestBody"} & set(operation.definition.raw)
    for mode in schemathesis.GenerationMode if can_be_wrong else [schemathesis.GenerationMode.POSITIVE]:
        _try(operation, mode, fuzzer)


def _try(operation: Any, mode: schemathesis.GenerationMode, fuzzer: Fuzzer) -> None:
    sound = mode is schemathesis.GenerationMode.POSITIVE

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES or FEW,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        fuzzer.ask(case, sound=sound)

    ask()


async def test_the_description_and_its_page_tell_of_every_route(firm: Firm) -> None:
    face = HttpFace(firm.service)
    async with asking(face) as browser:
        told = (await browser.get("/api/openapi.json")).json()
        shown = check_page(await browser.get("/api/docs"))
        style = await browser.get("/api/docs.css")
    routes = {(route.method, route.path) for route in face.routes.all if route.method != "HEAD"}
    assert routes == {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    names = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)
    assert all(f'<section id="{name}">' in shown for name in names)
    assert style.headers["content-type"] == "text/css; charset=utf-8"


def test_nothing_in_a_description_becomes_part_of_its_page() -> None:
    hostile = "<script>alert(1)</script>`<b>`"
    told = {
        "info": {"title": hostile, "version": hostile, "description": hostile},
        "paths": {
            f"/{hostile}": {
                "get": {"operationId": hostile, "summary": hostile, "responses": {"200": {"description": hostile}}}
            }
        },
        "components": {"schemas": {hostile: {"title": hostile}}},
    }
    shown = page(told)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_forms_are_told_with_what_they_need() -> None:
    schemas = document(HttpFace(Firm().service).routes.all)["components"]["schemas"]
    assert schemas["JobForm"]["required"] == ["name", "task_name"]
    assert schemas["PipelineForm"]["properties"]["jobs"]["minItems"] == 2
    assert "additionalProperties" not in schemas["JobForm"]
    assert json.dumps(schemas)
