"""Log lines for programs: which job they are about."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path
from typing import Any

from faces.stage import Shop, Start
from worksong import Job, Worker
from worksong.faces.cli.configured import scribe_of
from worksong.faces.cli.logs import set_up

APP = """
from __future__ import annotations

import logging

from worksong import Worker

worker = Worker(name="choir", concurrency=2)
log = logging.getLogger("choir")


@worker.job()
async def sing() -> None:
    log.info("la la")


@worker.job()
def hum() -> None:
    log.info("mm mm")


@worker.job(max_fails=1)
async def fail() -> None:
    raise ValueError("out of tune")
"""


def test_a_line_of_a_handler_or_about_a_job_names_it(start: Start, shop: Shop, tmp_path: Path) -> None:
    # Given a worker that logs as JSON
    (tmp_path / "choir.py").write_text(APP)
    program = start("run", "choir:worker", "--log-format", "json", url=shop.url)

    def line(text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(program.line(text))
        return found

    assert "job" not in line("starts choir:worker")
    # When handlers log, in the loop or in a thread, then each line has its job
    for name, said in (("sing", "la la"), ("hum", "mm mm"), ("fail", "is dead")):
        (job_id,) = shop.push(Job(name))
        found = line(said)
        assert (found["job"], found["handler"], found["attempt"]) == (job_id, name, 1)
    # And what is no job's names none
    program.send(signal.SIGTERM)
    assert "job" not in line("stopped after")


def test_what_handlers_log_is_kept_where_the_store_is_told_of_failures() -> None:
    worker, root = Worker(history=True), logging.getLogger()
    scribe = scribe_of(worker)
    assert scribe is worker.measured().scribe
    assert scribe_of(Worker(history=False)) is None
    handlers, level = root.handlers[:], root.level
    try:
        set_up("json", tag="", debug=False, scribe=scribe)
        assert scribe in root.handlers
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
