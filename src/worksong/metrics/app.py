"""The metrics as an ASGI application, to be mounted where an application serves HTTP anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from worksong.metrics.metrics import Metrics
from worksong.worker import Worker

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def metrics_app(worker: Worker) -> App:
    """Answers GET with the metrics of the worker, whatever the path: `app.mount("/metrics", metrics_app(worker))`.

    Who may ask is for the application around it to say.
    """
    metrics = Metrics(worker)

    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        status, body, kind = 405, b"only GET is answered here\n", "text/plain; charset=utf-8"
        if scope["method"] in ("GET", "HEAD"):
            body, kind = await asyncio.to_thread(metrics.text, _accepted(scope))
            status = 200
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


def _accepted(scope: Message) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
