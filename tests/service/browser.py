"""Somebody who asks the service over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from httpx2 import ASGITransport, AsyncClient, Response
from starlette.types import ASGIApp

from service.scenarios import Ask, Code, Reply, Verb

ADDRESS = "http://127.0.0.1:8080"
PATHS = {
    Verb.TASKS: ("GET", "/api/tasks"),
    Verb.CREATE_JOB: ("POST", "/api/jobs"),
    Verb.JOBS: ("GET", "/api/jobs"),
    Verb.JOB: ("GET", "/api/jobs/{id}"),
    Verb.EDIT_JOB: ("PATCH", "/api/jobs/{id}"),
    Verb.DELETE_JOB: ("DELETE", "/api/jobs/{id}"),
    Verb.RESULT: ("GET", "/api/jobs/{id}/results"),
    Verb.DELETE_RESULT: ("DELETE", "/api/jobs/{id}/results"),
    Verb.CREATE_PIPELINE: ("POST", "/api/pipelines"),
    Verb.PIPELINES: ("GET", "/api/pipelines"),
    Verb.PIPELINE: ("GET", "/api/pipelines/{id}"),
    Verb.PIPELINE_JOBS: ("GET", "/api/pipelines/{id}/jobs"),
    Verb.EDIT_PIPELINE: ("PATCH", "/api/pipelines/{id}"),
    Verb.DELETE_PIPELINE: ("DELETE", "/api/pipelines/{id}"),
}
CODES = {400: Code.INVALID, 404: Code.MISSING, 409: Code.CONFLICT}
DONE = {"GET": 200, "POST": 202, "PATCH": 204, "DELETE": 204}


class Browser:
    """A driver for scenarios, and a client for all else."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def ask(self, ask: Ask) -> Reply:
        method, path = PATHS[ask.verb]
        where = path.replace("{id}", ask.id)
        if method == "GET":
            answer = await self.client.request(method, where, params=dict(ask.fields))
        else:
            answer = await self.client.request(method, where, json=dict(ask.fields))
        if answer.status_code == DONE[method]:
            assert (answer.content == b"") is (answer.status_code == 204)
            return Reply(Code.DONE, answer.json() if answer.content else None)
        told = answer.json()
        assert (told["code"], told["error"], set(told)) == (answer.status_code, True, {"code", "error", "message"})
        return Reply(CODES[answer.status_code], told["message"])

    async def get(self, path: str, **options: Any) -> Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> Response:
        return await self.client.post(path, json=body, **options)


@asynccontextmanager
async def asking(
    face: ASGIApp, *, client: tuple[str, int] = ("127.0.0.1", 50000), base: str = ADDRESS, **options: Any
) -> AsyncIterator[Browser]:
    """Somebody in front of the face, or of an application that it is in."""
    transport = ASGITransport(face, client=client)
    async with AsyncClient(transport=transport, base_url=base, **options) as one:
        yield Browser(one)
