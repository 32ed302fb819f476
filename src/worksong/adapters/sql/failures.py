"""What an error of a driver may mean."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What an error of a driver means."""

    AGAIN = "others were in the way: the transaction is undone, and may be tried again"
    AWAY = "the connection is gone, or the server"
    FULL = "there is no room for more"
    REFUSED = "the server understood, and said no"
    CONFIG = "the URL, the login or the tables are wrong"
