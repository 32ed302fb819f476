"""What is wrong with a Redis server, whatever lies on it."""

from __future__ import annotations
