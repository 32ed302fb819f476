"""A WSGI application, those of whose requests that ask for it wait until a test lets them go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from frameworks.held.gates import note, wait_at

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ASKED = "held"
"""The query of such a request."""


class Held:
    """Around the application, which sees the request when it may go on."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["QUERY_STRING"] != ASKED:
            return self._application(environ, start_response)
        note("request began")
        wait_at("request")
        answer = self._application(environ, start_response)
        note("request ended")
        return answer
