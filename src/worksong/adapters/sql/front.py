"""Where the lines of waiting jobs begin, for as long as it is dear to find that out.

A line is a job type in one queue. Rows of jobs that were lent stay before its first job until they are cleared away,
which no database can as long as somebody keeps a transaction open that might see them. A look from the beginning passes
all of these; one from a place on that was reached before passes none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from worksong.adapters.sql.steps import Program, Row, Space
from worksong.ports.backend import Want

DEAR = 0.001
"""Seconds of the server that a look for the beginning of all lines may take, until places are kept."""
REST = 0.1
"""Seconds between two such looks, at least."""
SHARE = 9
"""And so many times as long as the last one took: a tenth of the time at most goes into them."""
MOST = 100
"""Lines; where there are more, hopping over them is what takes the time, and places would spare nothing."""

Places: TypeAlias = Mapping[str, Mapping[str, int]]
"""Type -> queue -> the place of a job."""


class Front:
    """What is known of one namespace, in one event loop.

    No more than a hint: a job may come to stand before its line's place, handed back, retried or committed late, and a
    line may be new. So whoever asks without waiting is told nothing, and looks at everything; who waits misses such a
    job until the next look, and that is due at every fetch until lines are cheap again.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.dear = False
        """Whether places are kept."""
        self._places: dict[tuple[str, str], int] = {}
        """By type and queue, the one that was seen last at the end."""
        self._names: Collection[str] = frozenset()
        """The types that were looked for."""
        self._next = 0.0

    def near(self, want: Want) -> Places:
        """From where on this fetch may look; empty: from the beginning of everything."""
        names = [share.name for share in want.handlers]
        if not self.dear or want.wait <= 0 or not all(name in self._names for name in names):
            return {}
        found: dict[str, dict[str, int]] = {}
        for (name, queue), place in self._places.items():
            found.setdefault(name, {})[queue] = place
        return {name: found[name] for name in names if name in found}

    def reach(self, lent: Sequence[Row], near: Places) -> None:
        """These rows of the fragment `whole` were lent, in this order of each line, by a fetch that began `near`.

        A line that was found to begin further in front meanwhile stays there: its first job was passed over.
        """
        if self.dear:
            lines = {(row[2], row[3]): row[5] for row in lent}
            self._see({line: place for line, place in lines.items() if not self._begins_before(line, near)})

    def _begins_before(self, line: tuple[str, str], near: Places) -> bool:
        name, queue = line
        began = near.get(name, {}).get(queue)
        return began is not None and self._places.get(line, began) < began

    def due(self, took: float, monotonic: float) -> bool:
        """Whether to look again where lines begin; `took`: how long a fetch needed for that just now."""
        return (self.dear or took > DEAR) and monotonic >= self._next

    def look(self, names: Collection[str], monotonic: float) -> Program[bool]:
        """Find out; answers whether jobs may be there that nobody would have come by."""
        self._next = monotonic + REST
        rows = yield from self._space.ask("fronts", [(name, 0) for name in sorted(names)])
        return self._seen(frozenset(names), rows, monotonic)

    def _seen(self, names: frozenset[str], rows: Sequence[Row], monotonic: float) -> bool:
        """`rows`: (seconds, type, queue, place of the first job); the latter three None where there is no line."""
        took = rows[0][0] or 0.0
        found: dict[tuple[str, str], int] = {(name, queue): place for _, name, queue, place in rows if name is not None}
        self._next = monotonic + took + max(REST, SHARE * took)
        before, self._names = self._places, names
        self.dear = took > DEAR and len(found) <= MOST
        if not self.dear:
            self._places = {}
            return bool(before)
        self._see(found)
        return any(place < before.get(line, place + 1) for line, place in found.items())

    def _see(self, lines: Mapping[tuple[str, str], int]) -> None:
        kept = {line: place for line, place in self._places.items() if line not in lines}
        self._places = dict([*kept.items(), *lines.items()][-MOST:])
