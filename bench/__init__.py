"""How fast worksong is, beside others: `python -m bench --help`."""

from __future__ import annotations
