"""The JSON routes of gocraft/work's web UI, so that what its users wrote against them goes on (module work/webui).

Answers are its own: indented by tabs, times as whole seconds, failures as 500 with their text. Three things
differ: secrets in arguments and errors are hidden here as everywhere in the console, the text of a failure is valid
JSON, and who may not do what he orders is answered 403.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worksong.domain.errors import InvalidArguments
from worksong.domain.job import JobView
from worksong.domain.lifecycle import State
from worksong.faces.asgi.failures import failure_of
from worksong.faces.asgi.refused import Refused
from worksong.faces.web.doing import do
from worksong.ports.backend import BusyView, PoolView, QueueView
from worksong.service.desk import Desk
from worksong.service.search import Search

PAGE = 20
LARGEST = 10**9 // PAGE
"""Number of a page: backends count jobs in numbers that end."""
LISTS = {
    "/retry_jobs": (State.RETRY, "retry_at"),
    "/scheduled_jobs": (State.SCHEDULED, "run_at"),
    "/dead_jobs": (State.DEAD, "died_at"),
}
ORDERS = ("/delete_dead_job/", "/retry_dead_job/", "/delete_all_dead_jobs", "/retry_all_dead_jobs")
"""How the paths begin of what changes something; it takes no body."""

Fields = dict[str, Any]
Answer = Callable[[Request], Awaitable[Any]]


class Workwebui:
    """The handlers of these routes. `/queues` is also a page: programs that ask for JSON get this one."""

    def __init__(self, desk: Desk, patience: float) -> None:
        self._desk, self._patience = desk, patience

    @property
    def routes(self) -> list[Route]:
        """All but `/queues`."""
        asked: dict[str, Answer] = {
            "/worker_pools": self.pools,
            "/busy_workers": self.busy,
            **{path: self._lister(state, name) for path, (state, name) in LISTS.items()},
        }
        ordered: dict[str, Answer] = {
            "/delete_dead_job/{died_at}/{job_id:path}": self._on_one("delete", "deleted"),
            "/retry_dead_job/{died_at}/{job_id:path}": self._on_one("requeue", "retried"),
            "/delete_all_dead_jobs": self._on_all("delete"),
            "/retry_all_dead_jobs": self._on_all("requeue"),
        }
        return [
            *(Route(path, self.answering(answer, self._patience), methods=["GET"]) for path, answer in asked.items()),
            *(Route(path, self.answering(order), methods=["POST"]) for path, order in ordered.items()),
        ]

    def answering(self, answer: Answer, patience: float | None = None) -> Callable[[Request], Awaitable[Response]]:
        """The answer as its peer writes it."""

        async def respond(request: Request) -> Response:
            try:
                async with asyncio.timeout(patience):
                    return _written(await answer(request))
            except Exception as error:
                status = error.failure.status if isinstance(error, Refused) else 500
                text = json.dumps(failure_of(error).text)
                return Response(f'{{"error": {text}}}', status, media_type="application/json; charset=utf-8")

        return respond

    async def queues(self, request: Request) -> list[Fields]:
        return [_queue(view) for view in (await self._desk.glance()).queues]

    async def pools(self, request: Request) -> list[Fields]:
        return [_pool(view) for view in (await self._desk.glance()).pools or ()]

    async def busy(self, request: Request) -> list[Fields] | None:
        glance = await self._desk.glance()
        return [_busy(view, self._desk.busy_fields(view)) for view in glance.busy] or None

    def _lister(self, state: State, name: str) -> Answer:
        async def listed(request: Request) -> Fields:
            number = _page(request.query_params.get("page", ""))
            page = await self._desk.slice(state, PAGE, (number - 1) * PAGE)
            return {"count": page.total, "jobs": [_job(view, self._desk.job_fields(view), name) for view in page.jobs]}

        return listed

    def _on_one(self, act: str, done: str) -> Answer:
        async def order(request: Request) -> Fields:
            died_at, job_id = request.path_params["died_at"], request.path_params["job_id"]
            if not died_at.isascii() or not died_at.isdecimal():
                raise InvalidArguments(f"{died_at!r} is no time in Unix seconds")
            view = await self._desk.found(job_id)
            dead = view is not None and view.state is State.DEAD and int(view.at) == int(died_at)
            if not dead or not (await self._ordered(request, act, [job_id])):
                raise InvalidArguments(f"nothing {done}")
            return {"status": "ok"}

        return order

    def _on_all(self, act: str) -> Answer:
        async def order(request: Request) -> Fields:
            await self._ordered(request, act, None)
            return {"status": "ok"}

        return order

    async def _ordered(self, request: Request, act: str, job_ids: list[str] | None) -> int:
        return (await do(request, self._desk, await self._desk.on_jobs(State.DEAD, act, job_ids, Search()))).done


def wants_json(request: Request) -> bool:
    """Whether a program asks that wants no page."""
    return "application/json" in request.headers.get("accept", "") or "accept" not in request.headers


def _page(text: str) -> int:
    number = text or "1"
    if not number.isascii() or not number.isdecimal() or len(number) > 20 or int(number) > LARGEST:
        raise InvalidArguments(f"{text!r} is no number of a page")
    return max(1, int(number))


def _queue(view: QueueView) -> Fields:
    return {"job_name": view.name, "count": view.count, "latency": int(view.latency)}


def _pool(view: PoolView) -> Fields:
    return {
        "worker_pool_id": view.id,
        "started_at": int(view.started_at),
        "heartbeat_at": int(view.heartbeat_at),
        "job_names": _all(view.handlers),
        "concurrency": view.concurrency,
        "host": view.host,
        "pid": view.pid,
        "worker_ids": _all(view.worker_ids),
    }


def _all(names: Iterable[str]) -> list[str] | None:
    return sorted(names) or None


def _busy(view: BusyView, shown: Fields) -> Fields:
    return {
        "worker_id": view.worker_id,
        "is_busy": True,
        "job_name": view.handler,
        "job_id": view.job_id,
        "started_at": int(view.started_at),
        "args_json": "" if shown["args"] is None else json.dumps(shown["args"], separators=(",", ":")),
        "checkin": shown["checkin"],
        "checkin_at": int(view.checkin_at),
    }


def _job(view: JobView, shown: Fields, when: str) -> Fields:
    """Its document, behind the time that its list is ordered by; members that say nothing are left out."""
    job = view.job
    fields = {when: int(view.at), "name": job.handler, "id": job.id, "t": int(job.enqueued_at), "args": shown["args"]}
    if job.unique:
        fields |= {"unique": True, **({"unique_key": shown["unique_key"]} if job.unique_key else {})}
    if job.fails:
        fields |= {"fails": job.fails}
    if job.error:
        fields |= {"err": shown["error"]}
    if job.failed_at:
        fields |= {"failed_at": int(job.failed_at)}
    return fields


def _written(content: Any) -> Response:
    """As Go's encoder writes it."""
    text = json.dumps(content, indent="\t", ensure_ascii=True, default=str)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Response(text, media_type="application/json; charset=utf-8")
