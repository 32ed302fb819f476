"""The page about who ordered what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from worksong.faces.web.doing import check_admin
from worksong.faces.web.replies import Replies
from worksong.service.journal import KEPT, MOST, Journal


class AuditPage:
    """For admins."""

    def __init__(self, journal: Journal, replies: Replies) -> None:
        self._journal, self._replies = journal, replies

    @property
    def routes(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """Path within the console, and what answers there."""
        return {"/audit": self.audit}

    async def audit(self, request: Request) -> Response:
        """The latest orders."""
        check_admin(request)
        found = await self._journal.orders()
        return self._replies.page(
            request, "audit", title="Audit", orders=found.orders, shared=found.shared, most=MOST, kept=KEPT
        )
