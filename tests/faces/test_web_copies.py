"""What the page of a job offers to copy: each enqueues a job like it, and says what it leaves out."""

from __future__ import annotations

import html
import json
import re
import shlex
from typing import Any

import pytest

from faces.console import Yard
from faces.test_web_pages import CANARY
from faces.visitor import visiting
from service.browser import asking
from service.stage import Firm
from worksong import Worker
from worksong.domain.job import Job
from worksong.domain.lifecycle import State
from worksong.faces.http import HttpFace
from worksong.faces.web import Console
from worksong.faces.web.copies import copies
from worksong.ports.backend import Window

AWKWARD = {"n": [1, None, True], "to": 'o\'neil "x" $HOME `id`'}


def snippets(page: str) -> dict[str, str]:
    """What can be copied, by its kind."""
    found = re.findall(r'<pre id="as-(\w+)" tabindex="0">(.*?)</pre>', page, re.DOTALL)
    return {kind: html.unescape(text) for kind, text in found}


async def test_the_command_and_the_python_of_a_job_say_what_it_was_called_with() -> None:
    worker = Worker()
    await Yard(worker.backend()).push(Job("charge", AWKWARD, queue="slow", id="q1"))
    async with visiting(worker) as visitor:
        found = snippets(await visitor.read("/job?id=q1"))
    # A console that has no job service beside it offers no request to one
    assert set(found) == {"cli", "python"}
    *words, queue = shlex.split(found["cli"])
    assert words[:4] == ["worksong", "enqueue", "charge", "--args"]
    assert (json.loads(words[4]), queue) == (AWKWARD, "slow")
    assert found["python"] == f"worker.perform(Job(handler='charge', args={AWKWARD!r}, queue='slow'))"


@pytest.mark.parametrize(
    ("handler", "args"),
    [("double", {"params": {"n": 21}}), ("double", {"params": {}}), ("greet", {"name": "ann"}), ("hush", None)],
)
async def test_the_request_of_a_job_makes_another_one_like_it(handler: str, args: dict[str, Any] | None) -> None:
    # Given the service with the console under its roof, and a job
    firm = Firm()
    firm.worker.register("hush", lambda: None)
    face = HttpFace(firm.service, console=Console(firm.worker))
    handle = await firm.worker.aperform(Job(handler, args))
    assert handle
    async with asking(face) as browser:
        page = (await browser.client.get("/job", params={"id": handle.id})).text
        # When what its page offers is sent
        command, silent, address, option, body = shlex.split(snippets(page)["curl"])
        assert (command, silent, option) == ("curl", "-s", "-d")
        assert address == f"{browser.client.base_url}/api/jobs".replace("//api", "/api")
        answer = await browser.client.post(address, content=body)
    # Then a job is created that is called as this one was
    assert (answer.status_code, answer.json()["task_name"]) == (202, handler)
    made = await firm.service.job(answer.json()["id"])
    queued = await firm.worker.backend().jobs(State.QUEUED, Window(10))
    assert [view.job.args for view in queued if view.id == made.id] == [args]


@pytest.mark.parametrize(
    ("handler", "args"),
    [
        ("double", {"n": 21}),
        ("double", {"params": {"n": 21}, "previous": 1}),
        ("double", {"params": None}),
        ("greet", ["ann"]),
        ("elsewhere", {"n": 1}),
    ],
)
async def test_no_request_is_offered_that_the_service_would_make_something_else_of(handler: str, args: Any) -> None:
    firm = Firm()
    face = HttpFace(firm.service, console=Console(firm.worker))
    await Yard(firm.worker.backend()).push(Job(handler, args, id="q1"))
    async with asking(face) as browser:
        page = (await browser.client.get("/job", params={"id": "q1"})).text
    assert set(snippets(page)) == {"cli", "python"}


async def test_what_is_not_shown_is_named_in_what_is_copied() -> None:
    worker = Worker()
    secret = {"n": 1, "api_token": CANARY, "deep": [{"password": CANARY}], "at": f"https://u:{CANARY}@host/"}
    await Yard(worker.backend()).push(Job("charge", secret, id="q1"))
    async with visiting(worker) as visitor:
        found = snippets(await visitor.read("/job?id=q1"))
    for text in found.values():
        remark, _, rest = text.partition("\n")
        assert remark == "# not shown, so fill in what stands there as ***: api_token, at, deep[0].password"
        assert "***" in rest
        assert CANARY not in text


def test_a_request_asks_for_the_token_and_carries_only_what_has_a_name() -> None:
    firm = Firm()
    greet = firm.worker.registry.find("greet")
    job = {"handler": "greet", "args": None, "queue": "default"}
    *_, curl = copies(job, "https://jobs.example/base", spec=greet, guarded=True)
    token = '-H "Authorization: Bearer $TOKEN"'
    body = '{"name": "greet", "task_name": "greet", "task_params": {}}'
    assert curl.text == f"curl -s https://jobs.example/base/api/jobs {token} -d '{body}'"
    kinds = [each.kind for each in copies(job | {"args": [1]}, "https://jobs.example", spec=greet, guarded=True)]
    assert kinds == ["cli", "python"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({f"key{number}": "***" for number in range(7)}, "key0, key1, key2, key3, key4 and 2 more"),
        ({"$(reboot)": "***", "`reboot`": {"a": "***"}, "fine": "***"}, "fine and 2 more"),
        ({"a;reboot": "***", "a\nreboot": "***", "a\rreboot": "***", "a b": "***", "|": "***"}, "5 arguments"),
        ({"": "***"}, "1 argument"),
    ],
)
def test_a_remark_holds_nothing_that_a_shell_would_run(args: dict[str, Any], told: str) -> None:
    # Names of arguments come from whoever enqueues, and not every shell passes over a remark that is pasted
    found = copies({"handler": "charge", "args": args, "queue": "default"}, None, spec=None, guarded=False)
    for copy in found:
        remark, _, rest = copy.text.partition("\n")
        assert remark == f"# not shown, so fill in what stands there as ***: {told}"
        assert rest.startswith(("worksong enqueue charge --args '", "worker.perform("))
    assert shlex.split(found[0].text.partition("\n")[2])[4] == json.dumps(args)
