"""What runs jobs: fetch, run, settle, and the upkeep around it. Knows no server."""

from __future__ import annotations
