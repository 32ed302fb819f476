"""How jobs ended, as rows: the programs."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.sql.steps import CHUNK, Program, Row, Space, parts
from worksong.domain.result import Result
from worksong.wire import result as wire


class Endings:
    """Programs over one namespace."""

    def __init__(self, space: Space, seconds: float) -> None:
        """`seconds`: how long each is kept; 0: not at all."""
        self._space, self.seconds = space, seconds

    def keep(self, results: Sequence[Result], *, last: bool = False) -> Program[None]:
        """Of several for one job, the last one counts; `last`: nothing is done after it."""
        latest = {result.job_id: result for result in results}
        rows = [(job_id, wire.encode(result), result.at + self.seconds) for job_id, result in latest.items()]
        *others, final = [*parts(rows, 1)] or [[]]
        for part in others:
            yield from self._space.do("keep", part)
        yield from self._space.do("keep", final, last=last)

    def kept(self, job_ids: Sequence[str]) -> Program[list[Row]]:
        """(job id, document) of those that are there."""
        found: list[Row] = []
        for start in range(0, len(job_ids), CHUNK):
            ids = [(job_id,) for job_id in job_ids[start : start + CHUNK]]
            found += yield from self._space.ask("kept", ids)
        return found

    def prune(self, now: float) -> Program[int]:
        """Forget a chunk of those that were kept long enough."""
        rows = yield from self._space.ask("old_results", now=now, most=CHUNK)
        return (yield from self._space.do("drop_result", rows))
