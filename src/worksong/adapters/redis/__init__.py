"""Redis on one multiplexed connection: where it is, the connection, the client."""

from __future__ import annotations
