"""The endings of nearly all jobs: their rows go, their results stay. Nothing is read before.

Whose claim no longer holds, who was cancelled and who goes somewhere else is left to `SqlBroker.settle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from worksong.adapters.sql.endings import Endings
from worksong.adapters.sql.rows import Receipt
from worksong.adapters.sql.steps import LONGEST, Operation, Program, Row, Space
from worksong.domain.errors import WorksongError
from worksong.domain.outcome import Discarded, Done, Settlement
from worksong.domain.result import Result
from worksong.wire import result as wire


class Unfinished(WorksongError):
    """some of these claims do not hold, or their jobs were cancelled; nothing was carried out"""


class Finish:
    """Operations over one namespace."""

    def __init__(self, space: Space, endings: Endings, *, one_step: bool) -> None:
        """`one_step`: one statement drops the rows and keeps the results of those that it dropped."""
        self._space, self._endings, self._one_step = space, endings, one_step

    def shortest(self, batch: Sequence[Settlement], now: float) -> Operation[set[int]] | None:
        """Ends all of them, and answers the numbers of their rows; None: they need more than that.

        What does it at once ends those that it can; any other raises `Unfinished` unless it can end all.
        """
        if not all(isinstance(one.outcome, (Done, Discarded)) for one in batch) or any(map(_followed, batch)):
            return None
        receipts: list[Receipt] = sorted(one.delivery.receipt for one in batch)
        if len({receipt.seq for receipt in receipts}) < len(receipts):
            return None
        results = self._results(batch, now)
        if not self._one_step:
            return partial(self._together, receipts, list(results.values()))
        documents = {seq: wire.encode(result) for seq, result in results.items()}
        if sum(map(len, documents.values())) > LONGEST:
            return None
        until = now + self._endings.seconds
        return partial(self._in_one, [(*receipt, documents.get(receipt.seq), until) for receipt in receipts])

    def _in_one(self, rows: Sequence[Row]) -> Program[set[int]]:
        return {seq for (seq,) in (yield from self._space.ask("finish", rows))}

    def _together(self, receipts: Sequence[Receipt], results: Sequence[Result]) -> Program[set[int]]:
        gone = yield from self._space.do("finish", receipts)
        if gone != len(receipts):
            raise Unfinished
        yield from self._endings.keep(results, last=True)
        return {receipt.seq for receipt in receipts}

    def _results(self, batch: Sequence[Settlement], now: float) -> dict[int, Result]:
        """What is to be kept, by the number of the row."""
        if not self._endings.seconds:
            return {}
        found = ((one.delivery.receipt.seq, wire.of(one.delivery.job.id, one.outcome, now)) for one in batch)
        return {seq: result for seq, result in found if result}


def _followed(settlement: Settlement) -> bool:
    return isinstance(settlement.outcome, Done) and bool(settlement.outcome.then)
