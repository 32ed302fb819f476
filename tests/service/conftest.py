"""What the tests of the job service are given."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.stage import Firm


@pytest.fixture
async def firm() -> AsyncIterator[Firm]:
    """A firm at work, in memory."""
    firm = Firm()
    async with firm.worker:
        await firm.service.start()
        yield firm
        firm.may_end.set()
        await firm.service.stop()
