"""Answers: pages for people, JSON for programs, and failures as either."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from worksong.domain.capability import Capability
from worksong.faces.asgi.refused import Failure
from worksong.faces.asgi.roof import service_at
from worksong.faces.web.copies import Copy, copies
from worksong.faces.web.doing import WHOLE, guest_of
from worksong.faces.web.failures import title_of
from worksong.faces.web.notices import Notices
from worksong.faces.web.paper import environment, seek
from worksong.service.access import Access, Role
from worksong.service.desk import Desk


class Json(Response):
    """In plain ASCII, so that nothing in it is obeyed by a terminal."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        try:
            text = json.dumps(content, ensure_ascii=True, allow_nan=False, default=str)
        except ValueError:
            text = json.dumps(_finite(content), ensure_ascii=True, allow_nan=False, default=str)
        return text.encode("ascii") + b"\n"


def _finite(content: Any) -> Any:
    """The same with null for the numbers that JSON has no word for."""
    match content:
        case float():
            return content if math.isfinite(content) else None
        case dict():
            return {name: _finite(value) for name, value in cast("dict[str, Any]", content).items()}
        case list() | tuple():
            return [_finite(value) for value in cast("list[Any]", content)]
        case _:
            return content


def where(scope: Scope) -> str:
    """The path within the console."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return (path[len(root) :] if path.startswith(root) else path) or "/"


def base_of(request: Request) -> str:
    """Where the console is, as the browser sees it."""
    return str(request.scope.get("state", {}).get("base", ""))


def link(request: Request, path: str, **query: Any) -> str:
    """The address of a page of the console."""
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{base_of(request)}{path}{f'?{_encoded(given)}' if given else ''}"


def _encoded(query: Mapping[str, Any]) -> str:
    return urlencode(query, errors="backslashreplace")


class Replies:
    """What every page has around it."""

    def __init__(self, desk: Desk, access: Access, notices: Notices) -> None:
        self._desk, self._access, self._notices = desk, access, notices

    def page(self, request: Request, name: str, *, status: int = 200, **context: Any) -> Response:
        """The page `name`.html."""
        role = guest_of(request).role
        desk, store = self._desk, self._desk.store
        text = (
            environment()
            .get_template(f"{name}.html")
            .render(
                url=partial(link, request),
                here=where(request.scope),
                changes="" if request.scope.get(WHOLE) else link(request, "/changes"),
                again=link(request, where(request.scope), **_asked(request)),
                now=desk.clock.now(),
                operator=role >= Role.OPERATOR,
                admin=role is Role.ADMIN,
                signed_in=role is not Role.NOBODY and not self._access.is_open,
                can=desk.can,
                lacking=desk.lacking,
                capabilities={capability.name for capability in desk.capabilities},
                sought_for=self._sought_for,
                namespace=store.namespace if role is not Role.NOBODY else "",
                store_url=store.url if role is not Role.NOBODY else "",
                has_records=store.ledger is not None,
                has_app=store.registry is not None,
                notice=self._notices.find(request.query_params.get("notice", "")) if role is not Role.NOBODY else "",
                **context,
            )
        )
        return Response(text.encode("utf-8", "backslashreplace"), status, media_type="text/html")

    def _sought_for(self, queue: str) -> str:
        """A search for the jobs of a queue; where a job type is the queue, for those of the type."""
        return seek(queue=queue) if Capability.QUEUES in self._desk.capabilities else seek(handler=queue)

    def copies(self, request: Request, job: dict[str, Any]) -> list[Copy]:
        """What enqueues a job like this one."""
        path = service_at(request.scope)
        service = None if path is None else f"{request.url.scheme}://{request.url.netloc}{path}"
        registry = self._desk.store.registry
        spec = registry.find(job["handler"]) if registry else None
        return copies(job, service, spec=spec, guarded=not self._access.is_open)

    def refusal(self, request: Request, failure: Failure) -> Response:
        """The failure, as whoever asked can read it."""
        path = where(request.scope)
        if path.startswith("/api/"):
            answer: Response = Json({"error": {"type": failure.kind, "message": failure.text}}, failure.status)
        elif failure.status == 401 and request.method == "GET" and not request.headers.get("hx-request"):
            answer = RedirectResponse(link(request, "/login"), 303)
        else:
            answer = self.page(request, "failure", status=failure.status, failure=failure, title=title_of(failure))
        if failure.status == 401:
            asks_for_password = self._access.users and path.startswith(
                "/api/"
            )  # of a page, the browser would ask itself
            answer.headers["WWW-Authenticate"] = 'Bearer, Basic realm="worksong"' if asks_for_password else "Bearer"
        if failure.status == 429:
            answer.headers["Retry-After"] = f"{failure.wait:.0f}"
        return answer

    def told(self, request: Request, text: str, path: str, **query: Any) -> Response:
        """Go to a page, which says what was done."""
        return RedirectResponse(link(request, path, **query, notice=self._notices.keep(text)), 303)


def _asked(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.query_params.items() if name != "notice"}
