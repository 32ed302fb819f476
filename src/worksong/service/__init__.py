"""What the command line, the dashboard and the web console share: they only translate from it."""

from __future__ import annotations
