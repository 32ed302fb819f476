"""Signals of a running worker: TERM and INT stop it, a second one ends it at once; TSTP and USR1 quiet it.

HUP, when the terminal or the supervisor is gone, stops it too, however often it comes.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable

log = logging.getLogger("worksong")


def listen(on_stop: Callable[[], None], on_quiet: Callable[[], None]) -> None:
    """Install the handlers in the running loop, which must be the main thread's. QUIT prints all stacks."""
    loop = asyncio.get_running_loop()
    asked = False

    def stop(number: int) -> None:
        nonlocal asked
        if asked:
            log.warning("second signal: ending at once; running jobs run again when this pool is reaped")
            os._exit(128 + number)
        asked = True
        log.info("%s: stopping; a second one ends at once", signal.Signals(number).name)
        on_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        loop.add_signal_handler(signal.SIGHUP, on_stop)
    for number in (signal.SIGTSTP, signal.SIGUSR1):
        loop.add_signal_handler(number, on_quiet)
    faulthandler.register(signal.SIGQUIT, file=sys.stderr, all_threads=True)
