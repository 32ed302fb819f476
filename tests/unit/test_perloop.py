"""One sibling per event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from worksong.perloop import PerLoop


class Sibling:
    def sibling(self) -> Sibling:
        return Sibling()

    async def close(self) -> None:
        pass


class Interrupted(asyncio.SelectorEventLoop):
    """Does something else when it is asked whether it is closed."""

    meanwhile: Callable[[], None] | None = None

    def is_closed(self) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return super().is_closed()


def test_loops_of_several_threads_may_come_at_the_same_time() -> None:
    # Given a loop that has its own
    siblings = PerLoop(Sibling())

    async def use() -> Sibling:
        return siblings.here()

    def in_another_thread() -> None:
        thread = threading.Thread(target=lambda: asyncio.run(use()))
        thread.start()
        thread.join()

    first = Interrupted()
    mine = first.run_until_complete(use())
    # When a second one comes, and a third while the second looks for closed ones
    first.meanwhile = in_another_thread
    asyncio.run(use())
    # Then all have been served, and those that are closed by now are forgotten
    assert siblings.loops == 3
    asyncio.run(use())
    assert siblings.loops == 2
    assert first.run_until_complete(use()) is mine
    first.close()
