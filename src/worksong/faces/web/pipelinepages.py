"""The pages about pipelines, where the worker keeps records of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from worksong.faces.asgi.refused import Refused
from worksong.faces.web.replies import Replies
from worksong.ledger import Ledger
from worksong.service.desk import Desk
from worksong.service.pipelines import STATUSES, WORDS, one_pipeline, some_pipelines

NO_RECORDS = (
    "this worker keeps no records: give it Worker(..., records='sqlite:///records.db'), and start the console with it"
)


class PipelinePages:
    """Each asks the records once."""

    def __init__(self, desk: Desk, replies: Replies) -> None:
        self._desk, self._replies = desk, replies

    @property
    def routes(self) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
        """Path within the console, and what answers there."""
        return {"/pipelines": self.pipelines, "/pipeline": self.pipeline}

    async def pipelines(self, request: Request) -> Response:
        """A page of pipelines."""
        status, after = (request.query_params.get(name, "") for name in ("status", "after"))
        found = await some_pipelines(self._ledger(), status, after)
        return self._replies.page(
            request,
            "pipelines",
            title="Pipelines",
            found=found,
            statuses=[WORDS[each] for each in STATUSES],
            chosen=status,
            after=after,
        )

    async def pipeline(self, request: Request) -> Response:
        """One pipeline, and its jobs."""
        pipeline_id = request.query_params.get("id", "")
        found = await one_pipeline(self._ledger(), pipeline_id)
        if found is None:
            raise Refused(404, "not_found", "no record is kept of such a pipeline: it ended long ago, or it never was")
        whole, stages = found
        return self._replies.page(
            request, "pipeline", title=f"Pipeline {whole.name or whole.id[:80]}", whole=whole, stages=stages
        )

    def _ledger(self) -> Ledger:
        ledger = self._desk.store.ledger
        if ledger is None:
            raise Refused(404, "not_found", NO_RECORDS)
        return ledger()
