"""Connections of a client to a service: requests go out, answers or errors come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import NoneType
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from worksong.client.answers import read, text_of
from worksong.client.errors import NotNow, error_of
from worksong.client.requests import Request, check_key
from worksong.domain.errors import BackendUnavailable, ConfigError, WorksongError
from worksong.ports import chance
from worksong.service.redaction import shown_url

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before something is sent again; doubled each time."""


class Connection:
    """Belongs to an event loop; `sibling` makes one for another."""

    def __init__(self, url: str, token: str | None, *, timeout: float, attempts: int, verify: Any) -> None:
        self._url, self._token, self._timeout = checked(url), token, timeout
        self._attempts, self._verify = attempts, verify
        self._http: Any = None

    def sibling(self) -> Connection:
        """The same service, from another loop."""
        return Connection(self._url, self._token, timeout=self._timeout, attempts=self._attempts, verify=self._verify)

    async def close(self) -> None:
        """Let go of connections; they are opened again when they are needed."""
        http, self._http = self._http, None
        if http:
            await http.aclose()

    async def send(self, request: Request[T]) -> T:
        """The answer. What may be sent twice is sent again while the service is away."""
        check_key(request.key)
        attempts = self._attempts if request.is_repeatable else 1
        for attempt in range(1, attempts):
            try:
                return await self._send_once(request)
            except BackendUnavailable as away:
                await asyncio.sleep(pause(attempt, away))
        return await self._send_once(request)

    async def _send_once(self, request: Request[T]) -> T:
        import httpx2

        try:
            answer = await self._connected().request(
                request.method,
                request.path,
                content=request.body,
                params=dict(request.query),
                headers=_headers(request),
                timeout=httpx2.Timeout(self._timeout, read=self._timeout + request.patience),
            )
        except (httpx2.TransportError, httpx2.DecodingError) as failure:
            raise _unreachable(self._url, request, failure) from failure
        if answer.is_success:
            return cast("T", None) if request.answer is NoneType else read(answer.content, request.answer)
        raise _error_of(answer, answer.content)

    async def lines(self, request: Request[T], seen: str) -> AsyncGenerator[str]:
        """The lines of a stream of events behind the one that was `seen`, until it ends or breaks off."""
        import httpx2

        timeout = httpx2.Timeout(self._timeout, read=self._timeout + request.patience)
        headers = {"Last-Event-ID": seen} if seen else {}
        try:
            async with self._connected().stream(
                request.method, request.path, headers=headers, timeout=timeout
            ) as answer:
                if not answer.is_success:
                    raise _error_of(answer, await answer.aread())
                async for line in answer.aiter_lines():
                    yield line
        except (httpx2.TransportError, httpx2.DecodingError) as failure:
            raise _unreachable(self._url, request, failure) from failure

    @property
    def attempts(self) -> int:
        """How often what may be sent twice is sent while the service is away."""
        return self._attempts

    def _connected(self) -> Any:
        if self._http is None:
            import httpx2

            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            self._http = httpx2.AsyncClient(base_url=self._url, headers=headers, verify=self._verify)
        return self._http


def checked(url: str) -> str:
    """The URL of a service, without a slash at its end; raises `ConfigError`."""
    try:
        import httpx2 as _  # noqa: F401 - told now rather than by the first request
    except ModuleNotFoundError as missing:
        raise ConfigError(f"the client needs the package {missing.name!r}: pip install 'worksong[client]'") from missing
    if not isinstance(url, str):
        raise ConfigError(f"the URL of a job service is a text, not {url!r:.100}")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{shown_url(url)!r} is no URL of a job service; write it as in http://127.0.0.1:8080")
    return url.rstrip("/")


def _headers(request: Request[T]) -> dict[str, str]:
    headers = {"Content-Type": "application/json"} if request.body is not None else {}
    return headers | ({"Idempotency-Key": request.key} if request.key is not None else {})


def _unreachable(url: str, request: Request[T], failure: Exception) -> BackendUnavailable:
    import httpx2

    cause = f"{shown_url(url)}: {str(failure) or type(failure).__name__}"
    if request.method == "GET":
        return BackendUnavailable(cause)
    if isinstance(failure, httpx2.ConnectError | httpx2.ConnectTimeout):
        return BackendUnavailable(f"{cause}; nothing was done")
    hint = "ask again with the same key" if request.key else "with a key= it could be asked again"
    return BackendUnavailable(f"{cause}; it may or may not have been done: {hint}")


def _error_of(answer: Any, body: bytes) -> WorksongError:
    return error_of(answer.status_code, text_of(body), _seconds(answer.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0


def pause(attempt: int, away: BackendUnavailable) -> float:
    """Seconds until the next attempt: longer each time, different for each caller, and not shorter than was told."""
    told = away.retry_after if isinstance(away, NotNow) else 0.0
    return min(LONGEST_PAUSE, told) + chance.uniform(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt)
