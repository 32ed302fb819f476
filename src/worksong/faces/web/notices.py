"""What was just done, told on the next page; a notice is named by chance, so nobody can make a console say things."""

from __future__ import annotations

import secrets
from collections import OrderedDict

KEPT = 200


class Notices:
    """The last ones of this process."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()

    def keep(self, text: str) -> str:
        """Its name."""
        name = secrets.token_urlsafe(8)
        self._texts[name] = text
        while len(self._texts) > KEPT:
            self._texts.popitem(last=False)
        return name

    def find(self, name: str) -> str:
        """Its text; empty when it is forgotten."""
        return self._texts.get(name, "")
