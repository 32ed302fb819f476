"""The page about the doctor lists every finding and every reason that there is, in their own words."""

from __future__ import annotations

import re
from pathlib import Path

from worksong.adapters.amqp.doctor import AILMENTS as AMQP_AILMENTS
from worksong.adapters.faktory.doctor import AILMENTS as FAKTORY_AILMENTS
from worksong.adapters.gocraft.doctor import AILMENTS
from worksong.adapters.memory.backend import VOLATILE
from worksong.adapters.resque.doctor import AILMENTS as RESQUE_AILMENTS
from worksong.adapters.sql.doctor.ailments import AILMENTS as SQL_AILMENTS
from worksong.domain.finding import Ailment, Severity
from worksong.domain.why import Reason

EVERY = (*AILMENTS, *RESQUE_AILMENTS, *FAKTORY_AILMENTS, *SQL_AILMENTS, *AMQP_AILMENTS, VOLATILE)
PAGE = Path(__file__).parents[1] / "docs" / "guides" / "doctor.md"


def between(mark: str) -> str:
    return PAGE.read_text().partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]


def row(ailment: Ailment) -> str:
    star = "\\*" if ailment.fixable else ""
    mend = ailment.mend.replace("|", "\\|")
    return f"| `{ailment.id}`{star} | {ailment.severity} | {ailment.title} | {mend} |"


def test_the_page_shows_every_finding_with_its_meaning_and_mend() -> None:
    order = list(Severity)
    every = sorted(EVERY, key=lambda ailment: (order.index(ailment.severity), ailment.id))

    table = "\n".join(["| Finding | | It means | The mend |", "|---|---|---|---|", *map(row, every)])

    assert between("findings").strip() == table, f"it should be:\n{table}"


def test_the_page_shows_every_reason() -> None:
    assert re.findall(r"^\| `(\w+)` \| ", between("reasons"), re.MULTILINE) == ["reason", *Reason]


def test_no_two_findings_share_an_id() -> None:
    ids = [ailment.id for ailment in EVERY]
    assert len(set(ids)) == len(ids)
