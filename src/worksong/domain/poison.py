"""Poison: something found in the store that cannot be read as a job."""

from __future__ import annotations

from enum import StrEnum

from worksong.domain.errors import WorksongError


class Reason(StrEnum):
    """What is wrong with it: a closed list, shown to the operator and counted."""

    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MANY_KEYS = "too_many_keys"
    INVALID_UTF8 = "invalid_utf8"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_MEMBER = "duplicate_member"
    MISSING_NAME = "missing_name"
    BAD_FIELD_TYPE = "bad_field_type"
    BAD_NUMBER = "bad_number"
    UNKNOWN_HANDLER = "unknown_handler"
    BAD_ARGS = "bad_args"


class Poison(WorksongError):
    """the stored bytes are no job"""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
