"""Lets failing assertions of the contract explain themselves, as those of a test module do; imported before them."""

from __future__ import annotations

import pytest

THEMES = (
    "arguments",
    "chronicles",
    "directing",
    "endings",
    "examining",
    "fetching",
    "following",
    "landing",
    "leases",
    "limits",
    "listings",
    "loading",
    "notebooks",
    "once",
    "one_place",
    "operating",
    "record_lists",
    "record_steps",
    "records",
    "results",
    "schedules",
    "steps",
    "stores",
    "timing",
    "transactions",
)
"""The modules of the contract."""

pytest.register_assert_rewrite(*(f"worksong.testing.contract.{theme}" for theme in THEMES))
