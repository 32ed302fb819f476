"""`manage.py worksong`."""

from __future__ import annotations
