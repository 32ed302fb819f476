"""Cron expressions in words."""

from __future__ import annotations

import pytest

from worksong.domain.cron import parse
from worksong.service.cronwords import words

SAID = {
    "* * * * * *": "every second",
    "*/10 * * * * *": "every 10 seconds",
    "10-20 * * * * *": "every minute at seconds 10 to 20",
    "* * * * *": "every minute",
    "30 * * * * *": "every minute at second 30",
    "*/15 * * * *": "every 15 minutes",
    "*/7 * * * *": "every hour at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56",
    "@hourly": "every hour",
    "5 * * * *": "every hour at minute 5",
    "0 */2 * * *": "every 2 hours",
    "5 */2 * * *": "every hour at minute 5, in hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 22",
    "*/15 9-17 * * 1-5": "every 15 minutes, in hours 9 to 17 on Monday to Friday",
    "5 10-20 1,2 * * *": "every minute at second 5, at minutes 10 to 20, in hours 1 and 2",
    "0 0 3 * * *": "at 03:00 every day",
    "TZ=Europe/Berlin 0 9,17 * * *": "at 09:00 and 17:00 every day",
    "15 30 8 * * sat,sun": "at 08:30:15 on Sunday and Saturday",
    "0 9 * * mon-fri": "at 09:00 on Monday to Friday",
    "0 12 * jan-mar,jul *": "at 12:00 every day in January, February, March and July",
    "30 4 1,15 * 5": "at 04:30 on days 1 and 15 of the month or on Friday",
    "0 0 1-31,* * 1": "at 00:00 on Monday",
    "0 0 29 2 ?": "at 00:00 on day 29 of the month in February",
    "@every 90s": "every 1 min 30 s",
    "0 0 30 2 *": "never",
}


@pytest.mark.parametrize("spec", SAID)
def test_an_expression_is_told_in_words(spec: str) -> None:
    assert words(parse(spec)) == SAID[spec]
