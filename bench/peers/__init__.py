"""One module per system, imported only with the packages of that system: see `bench.peer`."""

from __future__ import annotations
