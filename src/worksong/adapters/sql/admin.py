"""An operator's hand: the programs, each of which moves one chunk."""

from __future__ import annotations

from collections.abc import Sequence

from worksong.adapters.sql.places import Numbers
from worksong.adapters.sql.rows import Light
from worksong.adapters.sql.steps import CHUNK, Program, Space
from worksong.domain.lifecycle import State

EVERYTHING = (
    "erase_records",
    *("erase_jobs", "erase_pools", "erase_told", "erase_limits", "erase_paused"),
    *("erase_once", "erase_results", "erase_history"),
    "erase_course",
)


class SqlAdmin:
    """Programs that change what waits."""

    def __init__(self, space: Space, places: Numbers) -> None:
        self._space, self._places = space, places

    def requeue(self, state: State, job_ids: Sequence[str] | None, now: float) -> Program[int]:
        """Queue a chunk of them at once, behind what waits."""
        rows = yield from self._chosen(state, job_ids)
        places = self._places.take(len(rows), now)
        moves = [
            _fresh(light, state).moved(State.QUEUED, place=place, at=now, enqueued_at=now)
            for light, place in zip(rows, places, strict=True)
        ]
        return (yield from self._space.do("move", moves))

    def delete(self, state: State, job_ids: Sequence[str] | None) -> Program[int]:
        """Drop a chunk of them."""
        rows = yield from self._chosen(state, job_ids)
        return (yield from self._space.do("drop", [(light.seq, light.fence) for light in rows]))

    def _chosen(self, state: State, job_ids: Sequence[str] | None) -> Program[list[Light]]:
        if job_ids is None:
            rows = yield from self._space.ask("of_state", state=str(state), most=CHUNK)
        else:
            rows = yield from self._space.ask("of_ids", [(job_id,) for job_id in dict.fromkeys(job_ids)])
        return [light for light in (Light(*row) for row in rows) if light.state == state]

    def cancel(self, job_id: str) -> Program[bool]:
        """Drop it, or mark it: its ending then drops it."""
        rows = yield from self._space.ask("of_ids", [(job_id,)])
        for light in (Light(*row) for row in rows):
            if light.state == State.RUNNING:
                yield from self._space.do("cancel", seq=light.seq)
            else:
                yield from self._space.do("drop", [(light.seq, light.fence)])
        return bool(rows)

    def pause(self, name: str) -> Program[int]:
        return (yield from self._space.do("pause", queue=name))

    def resume(self, name: str) -> Program[int]:
        return (yield from self._space.do("resume", queue=name))

    def purge(self, name: str, after: int) -> Program[tuple[int, int]]:
        """Drop a chunk of what waits behind the row `after`: (how many, the last row; 0 when there are no more)."""
        rows = yield from self._space.ask("waiting_in", queue=name, after=after, most=CHUNK)
        dropped = yield from self._space.do("drop", rows)
        return dropped, rows[-1][0] if rows else 0

    def direct(self, pool_id: str, word: str) -> Program[bool]:
        """Note it beside the pool, unless there is none."""
        if not (yield from self._space.ask("lock_pool", id=pool_id)):
            return False
        yield from self._space.do("tell", id=pool_id, word=word)
        return True

    def erase(self) -> Program[None]:
        """Drop everything of the namespace."""
        for name in EVERYTHING:
            yield from self._space.do(name)


def _fresh(light: Light, state: State) -> Light:
    """A dead job begins anew; others keep their failures."""
    if state is not State.DEAD:
        return light
    return light._replace(attempt=1, error=None, failed_at=0.0, crashes=0, crashed_at=0.0)
