"""Answering: a call becomes a handler that ends in time, and with a status for whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
from google.protobuf.message import Message
from grpc.aio import ServicerContext

from worksong.faces.grpc.calls import Answer, Part, Stream
from worksong.faces.grpc.verdicts import verdict_of

Context = ServicerContext[Message, Message]


def handlers(part: Part, longest: float) -> grpc.GenericRpcHandler:
    """The methods of a service. `longest`: seconds that a call may take, whatever deadline it came with; streams go on
    as long as their callers want."""
    found: dict[str, grpc.RpcMethodHandler[Message, Message]] = {
        name: grpc.unary_unary_rpc_method_handler(
            _answering(call.answer, longest), request_deserializer=_reader(call.request), response_serializer=_written
        )
        for name, call in part.methods.items()
    }
    for name, stream in part.streams.items():
        found[name] = grpc.unary_stream_rpc_method_handler(
            _streaming(stream), request_deserializer=_reader(stream.request), response_serializer=_written
        )
    return grpc.method_handlers_generic_handler(part.name, found)


def _answering(answer: Answer, longest: float) -> Callable[[Message, Context], Awaitable[Message]]:
    async def answering(request: Message, context: Context) -> Message:
        try:
            async with asyncio.timeout(longest):
                return await answer(request)
        except Exception as failure:
            await context.abort(*verdict_of(failure))

    return answering


def _streaming(stream: Stream) -> Callable[[Message, Context], AsyncIterator[Message]]:
    async def streaming(request: Message, context: Context) -> AsyncIterator[Message]:
        try:
            async with contextlib.aclosing(stream.answer(request)) as messages:
                async for message in messages:
                    yield message
        except Exception as failure:
            await context.abort(*verdict_of(failure))

    return streaming


def _reader(request: type[Message]) -> Callable[[bytes], Message]:
    return request.FromString


def _written(message: Message) -> bytes:
    return message.SerializeToString()
