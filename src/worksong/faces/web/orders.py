"""What an operator orders through a form: asked first where it could be regretted, then done, then told."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from worksong.domain.errors import InvalidArguments
from worksong.domain.lifecycle import State
from worksong.faces.web.bodies import Form, form_of, state_of, text_in
from worksong.faces.web.failures import failure_of
from worksong.faces.web.replies import Replies
from worksong.service.acts import Act
from worksong.service.desk import Desk
from worksong.service.search import Search, parse

CHOSEN = 1_000
"""Jobs in one order, unless it is for all."""


class Orders:
    """The handlers of forms."""

    def __init__(self, desk: Desk, replies: Replies) -> None:
        self._desk, self._replies = desk, replies

    async def queue(self, request: Request) -> Response:
        """Pause, resume or purge."""
        try:
            form = await form_of(request)
            act = await self._desk.on_queue(text_in(form, "queue"), text_in(form, "act"))
            return await self._ask_or_do(request, form, act, "/queues")
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def jobs(self, request: Request) -> Response:
        """Run, delete or cancel what was chosen."""
        try:
            form = await form_of(request)
            state, sought = state_of(text_in(form, "state")), text_in(form, "q")
            ids = chosen(form.get("id", ()), every=bool(text_in(form, "all")))
            act = await self._desk.on_jobs(state, text_in(form, "act"), ids, parse(sought) if ids is None else Search())
            back = "/job" if text_in(form, "back") == "job" and ids else "/jobs"
            query = {"id": ids[0]} if back == "/job" and ids else {"state": _shown(state, sought), "q": sought}
            return await self._ask_or_do(request, form, act, back, **query)
        except Exception as error:
            return self._replies.refusal(request, failure_of(error))

    async def _ask_or_do(self, request: Request, form: Form, act: Act, back: str, **query: str) -> Response:
        if act.question and not text_in(form, "sure"):
            fields = [(name, value) for name, values in form.items() for value in values]
            return self._replies.page(
                request, "confirm", title="Sure?", question=act.question, fields=fields, back=back, query=query
            )
        text, _ = await self._desk.carry_out(act)
        return self._replies.told(request, text, back, **query)


def chosen(ids: Sequence[str], *, every: bool) -> Sequence[str] | None:
    """The ids of the jobs that are meant; None: all."""
    if every:
        return None
    if not ids:
        raise InvalidArguments("no job was chosen: tick some, or say that all are meant")
    if len(ids) > CHOSEN:
        raise InvalidArguments(f"{len(ids):,} jobs are too many for one order: {CHOSEN:,} at most, or all")
    return list(ids)


def _shown(state: State, sought: str) -> str:
    """The search may name the state itself."""
    return "" if "state:" in sought else str(state)
