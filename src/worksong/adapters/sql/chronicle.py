"""What jobs did over time, in a table: a row for each job type and slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil

import msgspec

from worksong.adapters.sql.steps import CHUNK, Program, Row, Space
from worksong.domain.course import Grain, Slot
from worksong.domain.tally import Tally

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, float]).decode


class SqlChronicle:
    """Programs over one namespace."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def note(self, tallies: Mapping[str, Tally], now: float) -> Program[None]:
        """Rows are locked in one order, whoever does it: nobody waits for somebody who waits for them."""
        rows = sorted((grain.seconds, grain.slot(now), handler) for grain in Grain for handler in tallies)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            yield from self._space.do("open_slots", part)
            found = yield from self._space.ask("slots", part)
            filled: list[Row] = [
                (grain, at, handler, _encode((_read(counts) + tallies[handler]).named))
                for grain, at, handler, counts in found
            ]
            yield from self._space.do("fill_slots", filled)

    def course(self, grain: Grain, since: float, until: float) -> Program[list[Slot]]:
        """The earliest first."""
        slots: defaultdict[int, dict[str, Tally]] = defaultdict(dict)
        found = yield from self._space.ask("course", grain=grain.seconds, since=ceil(since), until=ceil(until))
        for at, handler, counts in found:
            slots[at][handler] = _read(counts)
        return [Slot(at, tallies) for at, tallies in slots.items() if any(tallies.values())]

    def prune(self, now: float) -> Program[int]:
        """Forget slots that were kept long enough."""
        old: Sequence[Row] = [(grain.seconds, grain.slot(now - grain.kept)) for grain in Grain]
        pruned = 0
        for grain, before in old:
            pruned += yield from self._space.do("prune_slots", grain=grain, before=before)
        return pruned


def _read(counts: bytes | str | None) -> Tally:
    """What cannot be read counts nothing."""
    try:
        return Tally.of(_decode(counts)) if counts else Tally()
    except msgspec.MsgspecError:
        return Tally()
