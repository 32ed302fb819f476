"""The door: before a call is looked at, its caller is known and has leave for it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from grpc import StatusCode
from grpc.aio import ServerInterceptor, ServicerContext

from worksong.faces.asgi import audit
from worksong.faces.grpc.verdicts import Verdict
from worksong.ports.clock import Clock
from worksong.service.access import ANYBODY, Access, Caller, Scope, digest_of
from worksong.service.rates import WRONG_TOKENS, Buckets, Rate

OPEN = "/grpc.health.v1.Health/"
"""Whose calls need no token: whatever balances the load asks them."""
REFLECTION = "/grpc.reflection."
Q = TypeVar("Q")
A = TypeVar("A")
WRITES = (Scope.ENQUEUE, Scope.MANAGE)
"""What is noted in the audit log."""
Watch = Callable[[ServicerContext[Any, Any]], Awaitable[None]]
"""Looks at a call before it is answered, and may end it."""
_GUESSING = Verdict(StatusCode.RESOURCE_EXHAUSTED, "too many wrong tokens from this address; again in a minute")
_UNKNOWN = Verdict(StatusCode.UNIMPLEMENTED, "Method not found!")
"""gRPC's own words."""
_STRANGER = Verdict(StatusCode.UNAUTHENTICATED, "a token is needed: send it as metadata, authorization: Bearer TOKEN")


class Door(ServerInterceptor):
    """Stands before all services, those included that there are not."""

    def __init__(self, access: Access, scopes: Mapping[str, Scope | None], clock: Clock, rate: Rate | None) -> None:
        """`scopes`: what each method, called /package.Service/Method, needs leave for. `rate`: calls of each token."""
        self._access, self._scopes, self._clock = access, scopes, clock
        self._paces = Buckets(rate) if rate else None
        self._guesses = Buckets(WRONG_TOKENS)
        self._known: set[bytes] = set()
        """Digests of tokens that were let in: no guesses, and no more of them than there are tokens."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        method, caller = handler_call_details.method, self._caller(handler_call_details)
        refusal = self._refusal(method, caller)
        handler = _refusing(refusal) if refusal else await continuation(handler_call_details)
        if not (self._access.is_open or method.startswith(OPEN)):
            token = _token(handler_call_details)
            handler = _watched(handler or _refusing(_UNKNOWN), self._watch(token, is_wrong=caller is None))
        is_write = self._scopes.get(method) in WRITES
        return _noted(handler, caller, method) if handler and is_write else handler

    def _caller(self, details: grpc.HandlerCallDetails) -> Caller | None:
        """Who it is; None: nobody knows."""
        return ANYBODY if self._access.is_open else self._access.caller_of(_token(details))

    def _watch(self, token: str, *, is_wrong: bool) -> Watch:
        """Ends the calls of an address that has tried too many tokens, whichever it tries now: else it would learn of
        the right one. Only a call that is being answered knows where it comes from."""

        async def watch(context: ServicerContext[Any, Any]) -> None:
            address, now = _address(context.peer()), self._clock.monotonic()
            digest = digest_of(token)
            if self._guesses.is_empty(address, now) and digest not in self._known:
                await context.abort(*_GUESSING)
            if not is_wrong:
                self._known.add(digest)
            elif token:
                self._guesses.wait(address, now)

        return watch

    def _refusal(self, method: str, caller: Caller | None) -> Verdict | None:
        """Why the call is refused, if it is."""
        if self._access.is_open or method.startswith(OPEN):
            return None
        if caller is None:
            return _STRANGER
        if self._paces and (wait := self._paces.wait(caller.name, self._clock.monotonic())):
            return Verdict(StatusCode.RESOURCE_EXHAUSTED, f"too many calls with this token; again in {wait:.1f} s")
        needed = Scope.READ if method.startswith(REFLECTION) else self._scopes.get(method)
        if needed is None or caller.may(needed):
            return None  # what there is not is answered as such to all who may come in
        return Verdict(StatusCode.PERMISSION_DENIED, f"the token {caller.name!r} lacks the scope {str(needed)!r}")


def _token(details: grpc.HandlerCallDetails) -> str:
    """The one that was sent; nothing when there is none, or several."""
    sent = [value for key, value in details.invocation_metadata or () if key == "authorization"]
    kind, _, token = (sent[0] if len(sent) == 1 and isinstance(sent[0], str) else "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _address(peer: str) -> str:
    """Where somebody is, without the port: `ipv4:127.0.0.1` of `ipv4:127.0.0.1:4711`."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer


def _watched(handler: grpc.RpcMethodHandler[Q, A], watch: Watch) -> grpc.RpcMethodHandler[Q, A]:
    """The same, behind that."""
    inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

    async def answer(request: Any, context: ServicerContext[Any, Any]) -> Any:
        await watch(context)
        return await inner(request, context)

    async def stream(request: Any, context: ServicerContext[Any, Any]) -> AsyncGenerator[Any]:
        await watch(context)
        async with contextlib.aclosing(inner(request, context)) as messages:
            async for message in messages:
                yield message

    made: Any = grpc.unary_unary_rpc_method_handler
    if handler.response_streaming:
        made = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
    behind: grpc.RpcMethodHandler[Q, A] = made(
        stream if handler.response_streaming else answer,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return behind


def _refusing(verdict: Verdict) -> grpc.RpcMethodHandler[Any, Any]:
    """Reads nothing of the request."""

    async def refuse(_: Any, context: ServicerContext[Any, Any]) -> None:
        await context.abort(*verdict)

    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(refuse)
    return handler


def _noted(handler: grpc.RpcMethodHandler[Q, A], caller: Caller | None, method: str) -> grpc.RpcMethodHandler[Q, A]:
    """The same, with a line in the audit log about each call, however it ends."""
    answer: Any = handler.unary_unary

    async def noting(request: Any, context: ServicerContext[Any, Any]) -> Any:
        about = [_id_of(request)]
        try:
            answered = await answer(request, context)
            about.append(_id_of(answered))
            return answered
        finally:
            code: Any = context.code()  # 0, whatever its type says, where it went well
            ended = code or StatusCode.OK
            who = caller.name if caller else "nobody"
            audit.note(who, method, ended.name, about=[one for one in about if one], address=context.peer())

    noted: grpc.RpcMethodHandler[Q, A] = grpc.unary_unary_rpc_method_handler(
        noting, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
    )
    return noted


def _id_of(message: Any) -> str:
    """The record that a message is about, if it names one."""
    return getattr(message, "id", "") or getattr(message, "job_id", "")
