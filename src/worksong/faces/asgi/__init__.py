"""What the console and the job service have in common as ASGI applications."""

from __future__ import annotations
