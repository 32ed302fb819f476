"""What the headers of one message may take: they must fit into one frame, or the server ends the connection for all."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from worksong.domain.errors import PayloadTooLarge
from worksong.wire import amqp
from worksong.wire.amqp_table import encode_properties

MOST = 120_000
"""Bytes of a message's properties; a frame of RabbitMQ has 131,072."""
BRIEF = 200
"""Characters that are left of an error when there is no room for all of it."""
_OURS = ("x-job-", "x-error-", "x-attempts", "x-failed-at", "x-first-failed-at", "x-poison-reason")
log = logging.getLogger("worksong.amqp")


def size_of(message: amqp.Message) -> int:
    return len(encode_properties(message.headers, message.id, message.timestamp, message.type))


def check_size(handler: str, size: int) -> None:
    """Raise for properties that no frame holds."""
    if size > MOST:
        raise PayloadTooLarge(
            f"job {handler!r}: its meta and headers take {size:,} bytes, {MOST:,} are allowed: "
            "store the data elsewhere and pass its id"
        )


def fitted(message: amqp.Message) -> amqp.Message:
    """A copy that can be sent come what may: with less error, then no headers of others, then none of its meta."""
    if size_of(message) <= MOST:
        return message
    headers = dict(message.headers)
    if amqp.ERROR in headers:
        headers[amqp.ERROR] = amqp.text_of(headers[amqp.ERROR])[:BRIEF]
    for spare in (
        [],
        [name for name in headers if not name.startswith(_OURS)],
        [amqp.META, amqp.QUEUE],
    ):
        for name in spare:
            headers.pop(name, None)
        shorter = replace(message, headers=dict(headers))
        if size_of(shorter) <= MOST:
            break
    log.warning("job %s of %s: its headers are too large for a copy, and were shortened", message.id, message.type)
    return shorter
