"""The same as JSON, under /api/v1."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments, Unsupported
from worksong.domain.lifecycle import State
from worksong.domain.tally import total
from worksong.faces.asgi.failures import failure_of
from worksong.faces.asgi.refused import Refused
from worksong.faces.web.bodies import json_of, page_of, state_of
from worksong.faces.web.doing import check_admin, check_may, do
from worksong.faces.web.orders import chosen, meant
from worksong.faces.web.replies import Json, Replies
from worksong.service.acts import Act
from worksong.service.ailments import group_fields
from worksong.service.course import Course, course_fields, handler_fields, pace_fields, period_of
from worksong.service.desk import Desk
from worksong.service.fields import plain, vitals_fields
from worksong.service.firings import stopped_fields
from worksong.service.journal import Journal, order_fields
from worksong.service.scaling import scaling_fields
from worksong.service.search import LISTED, Search, parse
from worksong.service.trickle import pace_of, trickle_fields

Fields = dict[str, Any]
Question = Callable[[Request], Awaitable[Any]]


class Api:
    """The handlers of the routes that programs use."""

    def __init__(self, desk: Desk, replies: Replies, patience: float, journal: Journal) -> None:
        self._desk, self._replies, self._patience, self._journal = desk, replies, patience, journal

    @property
    def questions(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """Path within the API, and what answers a GET there."""
        found: dict[str, Question] = {
            "/counts": self.counts,
            "/queues": self.queues,
            "/jobs": self.jobs,
            "/job": self.job,
            "/pools": self.pools,
            "/busy": self.busy,
            "/errors": self.errors,
            "/cron": self.cron,
            "/history": self.history,
            "/handlers": self.handlers,
            "/scaling": self.scaling,
            "/audit": self.audit,
        }
        return {path: self._answering(question, self._patience) for path, question in found.items()}

    @property
    def orders(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """Path within the API, and what carries out a POST there."""
        found: dict[str, Question] = {
            "/queues": self.order_queue,
            "/jobs": self.order_jobs,
            "/errors": self.order_group,
            "/pools": self.order_pool,
            "/cron": self.order_periodic,
        }
        return {path: self._answering(question) for path, question in found.items()}

    def _answering(self, question: Question, patience: float | None = None) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                async with asyncio.timeout(patience):
                    return Json(await question(request))
            except Exception as error:
                return self._replies.refusal(request, failure_of(error))

        return answer

    async def counts(self, request: Request) -> Fields:
        glance = await self._desk.glance()
        return {
            "namespace": self._desk.store.namespace,
            **{str(state): glance.counts.get(state, 0) for state in LISTED},
            "latency": glance.latency,
            "queues": len(glance.queues),
            "paused": glance.paused,
            "paused_periodic": [stopped_fields(standing) for standing in await self._desk.agenda.stopped()],
            "pools": None if glance.pools is None else len(glance.pools),
            "concurrency": glance.concurrency,
            "busy": len(glance.busy),
        }

    async def queues(self, request: Request) -> list[Fields]:
        queues = (await self._desk.glance()).queues
        done = {
            name: total(course) for name, course in (await self._desk.queue_courses([q.name for q in queues])).items()
        }
        return [plain(queue) | pace_fields(done.get(queue.name)) for queue in queues]

    async def jobs(self, request: Request) -> Fields:
        search = parse(request.query_params.get("q", ""))
        state = search.state or state_of(request.query_params.get("state", str(State.QUEUED)))
        page = await self._desk.page(state, page_of(request.query_params.get("page", "")), search)
        return dict(msgspec.to_builtins(page))

    async def job(self, request: Request) -> Fields:
        dossier = await self._desk.dossier(request.query_params.get("id", ""))
        if dossier.job is None and dossier.result is None:
            raise Refused(404, "not_found", dossier.reasons[0][1])
        return dict(msgspec.to_builtins(dossier))

    async def pools(self, request: Request) -> list[Fields]:
        pools = (await self._with_pools()).pools or ()
        known = await self._desk.vitals(pools)
        return [{**plain(pool), **vitals_fields(known.get(pool.id))} for pool in pools]

    async def busy(self, request: Request) -> list[Fields]:
        return [self._desk.busy_fields(view) for view in (await self._with_pools()).busy]

    async def _with_pools(self) -> Any:
        glance = await self._desk.glance()
        if glance.pools is None:
            raise Unsupported("list workers", self._desk.store.backend().name, self._desk.lacking(Capability.POOLS))
        return glance

    async def errors(self, request: Request) -> Fields:
        groups, looked = await self._desk.ailments()
        seen = {str(state): {"looked": found.looked, "of": found.total} for state, found in looked.items()}
        trickles = [trickle_fields(trickle) for trickle in self._desk.trickles.running]
        return {"groups": [group_fields(group) for group in groups], "looked_at": seen, "trickles": trickles}

    async def cron(self, request: Request) -> list[Fields]:
        entries = (await self._desk.agenda.plan()).entries
        if entries is None:
            raise Refused(404, "not_found", "no application is known here: start the console with one")
        return entries

    async def history(self, request: Request) -> Fields:
        return course_fields(await self._course(request))

    async def handlers(self, request: Request) -> list[Fields]:
        return handler_fields(await self._course(request))

    async def _course(self, request: Request) -> Course:
        period = period_of(request.query_params.get("period", ""))
        if hint := self._desk.lacking(Capability.HISTORY):
            raise Unsupported("keep a history", self._desk.store.backend().name, hint)
        return await self._desk.course(period)

    async def scaling(self, request: Request) -> Fields:
        return scaling_fields(await self._desk.glance(), request.query_params.get("queue", ""))

    async def audit(self, request: Request) -> Fields:
        check_admin(request)
        found = await self._journal.orders()
        return {"orders": [order_fields(order) for order in found.orders], "shared": found.shared}

    async def order_queue(self, request: Request) -> Fields:
        body = await json_of(request)
        return await self._ordered(request, body, await self._desk.on_queue(_text(body, "queue"), _text(body, "act")))

    async def order_jobs(self, request: Request) -> Fields:
        body = await json_of(request)
        ids = chosen(_texts(body, "ids"), every=body.get("all") is True)
        state = state_of(_text(body, "state"))
        search = meant(_text(body, "q"), state) if ids is None else Search()
        act = await self._desk.on_jobs(state, _text(body, "act"), ids, search)
        return await self._ordered(request, body, act)

    async def order_group(self, request: Request) -> Fields:
        body = await json_of(request)
        if trickle := _text(body, "trickle"):
            return await self._ordered(request, body, self._desk.on_trickling(trickle))
        pace = body.get("per_minute")
        state, group = state_of(_text(body, "state")), (_text(body, "handler"), _text(body, "error"))
        pace = None if pace is None else pace_of(str(pace))
        act = await self._desk.on_group(state, _text(body, "act"), *group, pace)
        return await self._ordered(request, body, act)

    async def order_pool(self, request: Request) -> Fields:
        body = await json_of(request)
        return await self._ordered(request, body, await self._desk.on_pool(_text(body, "pool"), _text(body, "act")))

    async def order_periodic(self, request: Request) -> Fields:
        body = await json_of(request)
        act = await self._desk.agenda.order(_text(body, "job"), _text(body, "spec"), _text(body, "act") or "run")
        return await self._ordered(request, body, act)

    async def _ordered(self, request: Request, body: Fields, act: Act) -> Fields:
        if body.get("dry_run") is True:
            check_may(request, act)
            return {"done": 0, "text": act.question}
        deed = await do(request, self._desk, act)
        return {"done": deed.done, "text": deed.text}


def _text(body: Fields, name: str) -> str:
    found = body.get(name, "")
    if not isinstance(found, str):
        raise InvalidArguments(f"{name!r} must be a text")
    return found


def _texts(body: Fields, name: str) -> list[str]:
    try:
        return msgspec.convert(body.get(name, []), list[str])
    except msgspec.ValidationError:
        raise InvalidArguments(f"{name!r} must be a list of texts") from None
