"""Connections that tell when the other side has vanished without a word."""

from __future__ import annotations

import socket
import sys

_TIMES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


def keep_alive(sock: socket.socket) -> None:
    """Small commands leave at once, and a peer that is gone is found out within a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        for name, value in _TIMES:
            sock.setsockopt(socket.IPPROTO_TCP, vars(socket)[name], value)
