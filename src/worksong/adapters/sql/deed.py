"""What a handler writes, and the ending of its job, in one transaction."""

from __future__ import annotations

from typing import Any

from worksong.adapters.bells import Bells
from worksong.adapters.sql.broker import Cancelled, NotHeld, SqlBroker
from worksong.adapters.sql.store import Lent, Store
from worksong.domain.outcome import Discarded, Settlement


class SqlDeed:
    """One run of one job."""

    def __init__(self, lent: Lent, broker: SqlBroker, store: Store, bells: Bells) -> None:
        self._lent, self._broker, self._store, self._bells = lent, broker, store, bells

    @property
    def connection(self) -> Any:
        return self._lent.connection

    async def settle(self, settlement: Settlement, now: float) -> bool:
        try:
            await self._lent.commit(lambda: self._broker.seal(settlement, now))
        except NotHeld:
            return False
        except Cancelled:
            gone = Settlement(settlement.delivery, Discarded("cancelled"))
            (held,) = await self._store.run(lambda: self._broker.settle([gone], now))
            return held
        finally:
            self._bells.ring()  # for its result; and one more of a limited type may run
        return True

    async def undo(self) -> None:
        await self._lent.undo()
