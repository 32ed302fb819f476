"""What an operator orders through a form: asked first where it could be regretted, then done, then told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from worksong.domain.errors import InvalidArguments
from worksong.domain.lifecycle import State
from worksong.faces.asgi.failures import failure_of
from worksong.faces.web.bodies import DIGITS, Form, form_of, state_of, text_in
from worksong.faces.web.doing import check_may, do
from worksong.faces.web.replies import Replies
from worksong.service.acts import Act
from worksong.service.desk import Desk
from worksong.service.search import Search, parse
from worksong.service.trickle import pace_of

CHOSEN = 1_000
"""Jobs in one order, unless it is for all."""


class Place(NamedTuple):
    """A page of the console."""

    path: str
    query: Mapping[str, str] = {}
    """What it is asked for."""


class Orders:
    """The handlers of forms."""

    def __init__(self, desk: Desk, replies: Replies) -> None:
        self._desk, self._replies = desk, replies

    async def queue(self, request: Request) -> Response:
        """Pause, resume or purge."""
        try:
            form = await form_of(request)
            act = await self._desk.on_queue(text_in(form, "queue"), text_in(form, "act"))
            return await self._ask_or_do(request, form, act, Place("/queues"))
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def jobs(self, request: Request) -> Response:
        """Run, delete or cancel what was chosen."""
        try:
            form = await form_of(request)
            state, sought = state_of(text_in(form, "state")), text_in(form, "q")
            ids = chosen(form.get("id", ()), every=bool(text_in(form, "all")))
            search = meant(sought, state) if ids is None else Search()
            name = text_in(form, "act")
            act = await self._desk.on_jobs(state, name, ids, search)
            listed = Place("/jobs", {"state": _shown(state, sought), "q": sought})
            asked = Place("/job", {"id": ids[0]}) if text_in(form, "back") == "job" and ids else listed
            return await self._ask_or_do(request, form, act, asked, asked if _stays(name, state) else listed)
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def group(self, request: Request) -> Response:
        """Run or delete the jobs of a group of failing ones, and no others."""
        try:
            form = await form_of(request)
            handler, error = _exact(form, "handler"), _exact(form, "error")
            state, name = state_of(text_in(form, "state")), text_in(form, "act")
            pace = pace_of(text_in(form, "per_minute")) if name == "requeue" else None
            act = await self._desk.on_group(state, name, handler, error, pace)
            return await self._ask_or_do(request, form, act, Place("/errors"))
        except Exception as wrong:
            return self._replies.refusal(request, failure_of(wrong))

    async def trickle(self, request: Request) -> Response:
        """Queue no more of a group that is being queued some a minute."""
        try:
            form = await form_of(request)
            act = self._desk.on_trickling(text_in(form, "trickle"))
            return await self._ask_or_do(request, form, act, Place("/errors"))
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def pool(self, request: Request) -> Response:
        """Have a worker process go quiet, or end."""
        try:
            form = await form_of(request)
            act = await self._desk.on_pool(text_in(form, "pool"), text_in(form, "act"))
            return await self._ask_or_do(request, form, act, Place("/workers"))
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def periodic(self, request: Request) -> Response:
        """Run a periodic job now, pause its schedule, or resume it."""
        try:
            form = await form_of(request)
            name = text_in(form, "act") or "run"
            act = await self._desk.agenda.order(text_in(form, "job"), text_in(form, "spec"), name)
            return await self._ask_or_do(request, form, act, Place("/cron"))
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def _ask_or_do(
        self, request: Request, form: Form, act: Act, back: Place, done: Place | None = None
    ) -> Response:
        """Ask until the answer is about as many as there are now; `done`: where to go afterwards, if not back."""
        check_may(request, act)
        if act.question and not (text_in(form, "sure") and act.reach <= _number(text_in(form, "count"))):
            given = [(name, value) for name, values in form.items() for value in values]
            fields = [(name, value) for name, value in given if name not in ("sure", "count")]
            return self._replies.page(
                request,
                "confirm",
                title="Sure?",
                question=act.question,
                fields=[*fields, ("count", str(act.reach))],
                back=back.path,
                query=back.query,
            )
        deed = await do(request, self._desk, act)
        place = done or back
        return self._replies.told(request, deed.text, place.path, **place.query)


def _stays(act: str, state: State) -> bool:
    """Whether a job still has a page when that was done to it."""
    return act == "requeue" or state is State.RUNNING


def chosen(ids: Sequence[str], *, every: bool) -> Sequence[str] | None:
    """The ids of the jobs that are meant; None: all."""
    if every and ids:
        raise InvalidArguments("either some jobs are chosen, or all are meant: say one of the two")
    if every:
        return None
    if not ids:
        raise InvalidArguments("no job was chosen: tick some, or say that all are meant")
    if len(ids) > CHOSEN:
        raise InvalidArguments(f"{len(ids):,} jobs are too many for one order: {CHOSEN:,} at most, or all")
    return list(ids)


def meant(sought: str, state: State) -> Search:
    """What an order for all is about; raises `InvalidArguments` where it would reach more than its search says."""
    search = parse(sought)
    if search.state not in (None, state):
        raise InvalidArguments(f"the search is for {search.state} jobs, but the order for {state} ones: name one state")
    if sought.strip() and not search.narrows:
        raise InvalidArguments(f"the search {sought.strip()} narrows nothing: leave it empty to mean all {state} jobs")
    return search


def _exact(form: Form, name: str) -> str:
    """A field written as JSON, so that what a page does not show, or a browser changes, is still what it was."""
    try:
        found = json.loads(text_in(form, name))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, str):
        raise InvalidArguments(f"the group is not named: {name!r} must be a text in JSON")
    return found


def _number(text: str) -> int:
    return int(text[:DIGITS]) if text.isascii() and text.isdecimal() else 0


def _shown(state: State, sought: str) -> str:
    """The search may name the state itself."""
    return "" if "state:" in sought else str(state)
