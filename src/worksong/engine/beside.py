"""A coroutine in a thread of its own, with its own event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger("worksong")


class Beside:
    """Runs until stopped, whatever the loop that started it is busy with."""

    def __init__(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; returns when its loop runs."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure

    async def stop(self) -> None:
        """Cancel the coroutine and wait for the end of the thread."""
        if self._loop and self._task:
            self._loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        try:
            asyncio.run(self._host())
        except asyncio.CancelledError:
            return
        except Exception as failure:
            self._failure = failure
            log.exception("%s ended unexpectedly", self._thread.name)
        finally:
            self._ready.set()

    async def _host(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        await self._main()
