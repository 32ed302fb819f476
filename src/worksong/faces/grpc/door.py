"""The door: before a call is looked at, its caller is known and has leave for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from grpc import StatusCode
from grpc.aio import ServerInterceptor, ServicerContext

from worksong.faces.asgi import audit
from worksong.faces.grpc.verdicts import Verdict
from worksong.ports.clock import Clock
from worksong.service.access import ANYBODY, Access, Caller, Scope
from worksong.service.rates import Buckets, Rate

OPEN = "/grpc.health.v1.Health/"
"""Whose calls need no token: whatever balances the load asks them."""
REFLECTION = "/grpc.reflection."
Q = TypeVar("Q")
A = TypeVar("A")
WRITES = (Scope.ENQUEUE, Scope.MANAGE)
"""What is noted in the audit log."""
_STRANGER = Verdict(StatusCode.UNAUTHENTICATED, "a token is needed: send it as metadata, authorization: Bearer TOKEN")


class Door(ServerInterceptor):
    """Stands before all services, those included that there are not."""

    def __init__(self, access: Access, scopes: Mapping[str, Scope | None], clock: Clock, rate: Rate | None) -> None:
        """`scopes`: what each method, called /package.Service/Method, needs leave for. `rate`: calls of each token."""
        self._access, self._scopes, self._clock = access, scopes, clock
        self._paces = Buckets(rate) if rate else None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Q, A] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Q, A] | None:
        method, caller = handler_call_details.method, self._caller(handler_call_details)
        refusal = self._refusal(method, caller)
        handler = _refusing(refusal) if refusal else await continuation(handler_call_details)
        is_write = self._scopes.get(method) in WRITES
        return _noted(handler, caller, method) if handler and is_write else handler

    def _caller(self, details: grpc.HandlerCallDetails) -> Caller | None:
        """Who it is; None: nobody knows."""
        return ANYBODY if self._access.is_open else self._access.caller_of(_token(details))

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
