"""A port with threads behind it, one for each connection, which all end when somebody hangs up."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from faktory.faults import Faults


class Listening(Faults, ABC):
    """Lives in threads of its own: as the protocol has it, a command waits for its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self._listener: socket.socket | None = None
        self._roll = threading.Lock()
        """Held by whoever changes who is on the list."""
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def _serve(self, client: socket.socket) -> None:
        """Until one of both has enough."""

    @abstractmethod
    def _break_all(self) -> None:
        """Break every connection; `turn_of` is held."""

    def listen(self) -> None:
        """On the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._begin(self._accept, self._listener)

    def hang_up(self) -> None:
        """Every connection breaks, and nobody is listened to; what the server was asked before, it has carried out."""
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        while self._threads:
            with self.turn_of:
                self._break_all()
                self.turn_of.notify_all()
            with self._roll:
                last = self._threads[-1]
            last.join(0.05)
            with self._roll:
                self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _begin(self, what: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=what, args=args, name=f"faktory-{type(self).__name__.lower()}", daemon=True)
        with self._roll:
            thread.start()
            self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._listener is not listener:
                client.close()
                return
            self._begin(self._serve, client)
