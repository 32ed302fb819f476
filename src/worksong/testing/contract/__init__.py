"""The contract of a backend as tests: give a fresh backend to a subclass and run it with pytest.

    class TestMine(BackendContract):
        @pytest.fixture
        async def backend(self):
            backend = MineBackend("mine://...", namespace=new_id())
            yield backend
            await backend.close()

What the backend declares must hold; what it does not declare must be refused, or is reported as not promised. Every
test gives the time as an argument, and none sleeps. Needs pytest and pytest-asyncio.
"""

from __future__ import annotations

from worksong.testing.contract.explain import THEMES
from worksong.testing.contract.judge import BackendContract
from worksong.testing.contract.one_place import OnePlaceContract
from worksong.testing.contract.records import RecordStoreContract
from worksong.testing.contract.results import ResultStoreContract
from worksong.testing.contract.suite import Suite, needs
from worksong.testing.contract.table import capability_table

__all__ = [
    "THEMES",
    "BackendContract",
    "OnePlaceContract",
    "RecordStoreContract",
    "ResultStoreContract",
    "Suite",
    "capability_table",
    "needs",
]
