"""How people and programs reach worksong from outside: the command line."""

from __future__ import annotations
