"""Where worksong meets frameworks; each module needs its own and nothing here imports another."""

from __future__ import annotations
