"""RabbitMQ, in the form of Buffalo's AMQP adapter."""

from __future__ import annotations

from worksong.adapters.amqp.backend import AmqpBackend

__all__ = ["AmqpBackend"]
