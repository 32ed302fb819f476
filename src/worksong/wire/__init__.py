"""Bytes <-> `Job`: pure codecs of foreign formats, held to recordings of the real peers."""

from __future__ import annotations
