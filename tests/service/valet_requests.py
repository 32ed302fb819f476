"""Valet's specification as a table: what can be asked over HTTP, and all that is answered, a row for each case.

Where Valet itself does something else, which is one of its known defects, `valet` says what, and the row says what is
done instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from service.scenarios import LATER, NOBODY, TASKS, bad_time

JSON, TEXT = "application/json; charset=utf-8", "text/plain; charset=utf-8"


class Case(NamedTuple):
    """One request. In paths and answers, `{job}`, `{pipeline}` and `{first}` stand for what was given."""

    about: str
    ask: str
    """Method and path."""
    status: int
    answer: Any = None
    """The body with exactly these members; `...`: any value; a text: the message of a refusal; None: no body."""
    body: str | None = None
    given: str = ""
    """What there is before: a key of `GIVEN`."""
    kept: tuple[int, int] | None = None
    """How many jobs and pipelines there are afterwards."""
    sends: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})
    """Those that the answer has."""
    valet: str = ""
    """What Valet does instead, and by which of its defects."""


def _row(about: str, ask: str, status: int, answer: Any = None, body: str | None = None, **more: Any) -> Case:
    return Case(about, ask, status, answer, body, **more)


PAST = "2022-06-06T15:04:05Z"
JOB = {"id": ..., "name": "a", "task_name": "double", "status": "PENDING", "created_at": ...}
DONE = {**JOB, "status": "COMPLETED", "started_at": ..., "completed_at": ..., "duration": ...}
FAILED = {**DONE, "task_name": "fail", "status": "FAILED", "failure_reason": "no such customer"}
STEP = {**JOB, "pipeline_id": "{pipeline}"}
FIRST = {**STEP, "next_job_id": ...}
PIPELINE = {"id": ..., "name": "p", "status": "PENDING", "created_at": ...}
ENDED = {**PIPELINE, "status": "COMPLETED", "started_at": ..., "completed_at": ..., "duration": ...}
A_JOB = '{"name":"a","task_name":"double"}'
NAMELESS = '{"task_name":"nap"}'
ONE = f'{{"name":"p","jobs":[{A_JOB}]}}'
TWO = f'{{"name":"p","jobs":[{A_JOB},{A_JOB}]}}'
BROKEN = f'{{"name":"p","jobs":[{A_JOB},{{"name":"a","task_name":"fail"}},{A_JOB}]}}'

GIVEN: Mapping[str, tuple[str, str]] = {
    "job": ("/api/jobs", A_JOB),
    "failed": ("/api/jobs", '{"name":"a","task_name":"fail"}'),
    "later": ("/api/jobs", f'{{"name":"a","task_name":"double","run_at":"{LATER}"}}'),
    "pipeline": ("/api/pipelines", TWO),
    "broken": ("/api/pipelines", BROKEN),
}
"""What is created before, by a path and a body; all of it but `later` has ended when the case begins."""

NO_JOB, NO_RESULT = f"job with ID: {NOBODY} not found", f"job result with ID: {NOBODY} not found"
NO_PIPELINE = f"pipeline with ID: {NOBODY} not found"
UNKNOWN = f"nap is not a valid task name - valid tasks: {TASKS}"
OF_A_PIPELINE = (
    "job with ID: {first} can not be deleted because it belongs \n\t\t\t\t"
    "to a pipeline - try to delete the pipeline instead"
)

ROUTES: Sequence[Case] = [
    _row(
        "status",
        "GET /api/status",
        200,
        {"job_queue_healthy": True, "storage_healthy": True, "time": ..., "version": ...},
    ),
    _row("tasks", "GET /api/tasks", 200, {"tasks": ["double", "fail", "greet", "slow"]}, valet="in random order"),
    _row("a job", "POST /api/jobs", 202, JOB, A_JOB, kept=(1, 0)),
    _row("no jobs", "GET /api/jobs", 200, {"jobs": []}),
    _row("all jobs", "GET /api/jobs", 200, {"jobs": [DONE]}, given="job"),
    _row("jobs of a status", "GET /api/jobs?status=COMPLETED", 200, {"jobs": [DONE]}, given="job"),
    _row("in any case", "GET /api/jobs?status=completed", 200, {"jobs": [DONE]}, given="job"),
    _row("of another one", "GET /api/jobs?status=scheduled", 200, {"jobs": []}, given="job"),
    _row("of an empty one", "GET /api/jobs?status=", 200, {"jobs": [DONE]}, given="job"),
    _row("of none", "GET /api/jobs?status=foo", 400, 'invalid status: "FOO"'),
    _row("a job that completed", "GET /api/jobs/{job}", 200, DONE, given="job"),
    _row("a job that failed", "GET /api/jobs/{job}", 200, FAILED, given="failed"),
    _row("a job for later", "GET /api/jobs/{job}", 200, {**JOB, "run_at": LATER}, given="later"),
    _row("a job of nobody", f"GET /api/jobs/{NOBODY}", 404, NO_JOB),
    _row("a job called otherwise", "PATCH /api/jobs/{job}", 204, None, '{"name":"b"}', given="job"),
    _row("the same of nobody", f"PATCH /api/jobs/{NOBODY}", 404, NO_JOB, '{"name":"b"}'),
    _row("a job deleted", "DELETE /api/jobs/{job}", 204, given="job", kept=(0, 0)),
    _row("a job that waits deleted", "DELETE /api/jobs/{job}", 204, given="later", kept=(0, 0)),
    _row("the same of nobody", f"DELETE /api/jobs/{NOBODY}", 404, NO_JOB),
    _row("of a pipeline", "DELETE /api/jobs/{first}", 409, OF_A_PIPELINE, given="pipeline", kept=(2, 1)),
    _row("a result", "GET /api/jobs/{job}/results", 200, {"job_id": "{job}", "metadata": 2}, given="job"),
    _row("a failure", "GET /api/jobs/{job}/results", 200, {"job_id": ..., "error": "no such customer"}, given="failed"),
    _row("no result yet", "GET /api/jobs/{job}/results", 404, "job result with ID: {job} not found", given="later"),
    _row("the result of nobody", f"GET /api/jobs/{NOBODY}/results", 404, NO_RESULT),
    _row("a result deleted", "DELETE /api/jobs/{job}/results", 204, given="job", kept=(1, 0)),
    _row("the same of nobody", f"DELETE /api/jobs/{NOBODY}/results", 404, NO_RESULT),
    _row("a pipeline", "POST /api/pipelines", 202, {**PIPELINE, "jobs": [FIRST, STEP]}, TWO, kept=(2, 1)),
    _row("no pipelines", "GET /api/pipelines", 200, {"pipelines": []}),
    _row("all pipelines, without jobs", "GET /api/pipelines", 200, {"pipelines": [ENDED]}, given="pipeline"),
    _row("of a status", "GET /api/pipelines?status=completed", 200, {"pipelines": [ENDED]}, given="pipeline"),
    _row("of none", "GET /api/pipelines?status=nap", 400, 'invalid status: "NAP"'),
    _row("one, without jobs", "GET /api/pipelines/{pipeline}", 200, ENDED, given="pipeline"),
    _row("one that broke", "GET /api/pipelines/{pipeline}", 200, {**ENDED, "status": "FAILED"}, given="broken"),
    _row("a pipeline of nobody", f"GET /api/pipelines/{NOBODY}", 404, NO_PIPELINE),
    _row("called otherwise", "PATCH /api/pipelines/{pipeline}", 204, None, '{"name":"b"}', given="pipeline"),
    _row("the same of nobody", f"PATCH /api/pipelines/{NOBODY}", 404, NO_PIPELINE, '{"name":"b"}'),
    _row("a pipeline deleted with all", "DELETE /api/pipelines/{pipeline}", 204, given="pipeline", kept=(0, 0)),
    _row("the same of nobody", f"DELETE /api/pipelines/{NOBODY}", 404, NO_PIPELINE),
    _row(
        "its jobs",
        "GET /api/pipelines/{pipeline}/jobs",
        200,
        {"jobs": [{**FIRST, **DONE}, {**STEP, **DONE}]},
        given="pipeline",
        valet="V12: on memory and Redis they stay PENDING for ever",
    ),
    _row(
        "its jobs, one of which failed",
        "GET /api/pipelines/{pipeline}/jobs",
        200,
        {"jobs": [{**FIRST, **DONE}, {**FIRST, **FAILED}, STEP]},
        given="broken",
        valet="V15: the last one stays PENDING; that is kept",
    ),
    _row("the jobs of nobody", f"GET /api/pipelines/{NOBODY}/jobs", 404, NO_PIPELINE),
]
"""Each method and path with each of its answers."""

REQUESTS: Sequence[Case] = [
    _row(
        "all fields",
        "POST /api/jobs",
        202,
        {**JOB, "description": "d", "timeout": 9, "task_params": {"n": 1}, "run_at": LATER},
        f'{{"name":"a","description":"d","task_name":"double","timeout":9,"task_params":{{"n":1}},"run_at":"{LATER}"}}',
    ),
    _row("results before a single job", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"use_previous_results":true}}'),
    _row("empty parameters", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"task_params":{{}}}}'),
    _row("no timeout", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"timeout":0}}'),
    _row("a negative one", "POST /api/jobs", 202, {**JOB, "timeout": -1}, f'{A_JOB[:-1]},"timeout":-1}}'),
    _row("keys in any case", "POST /api/jobs", 202, JOB, '{"NAME":"a","Task_Name":"double"}'),
    _row("unknown keys", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"queue":"high"}}'),
    _row("null is absent", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"timeout":null,"run_at":null}}'),
    _row("what follows is not read", "POST /api/jobs", 202, JOB, f"{A_JOB} and more"),
    _row("any Content-Type", "POST /api/jobs", 202, JOB, A_JOB, sends={"Content-Type": "text/html"}),
    _row("blanks are a name", "POST /api/jobs", 202, {**JOB, "name": " "}, '{"name":" ","task_name":"double"}'),
    _row("the past", "POST /api/jobs", 202, {**JOB, "run_at": PAST}, f'{A_JOB[:-1]},"run_at":"{PAST}"}}'),
    _row("at once", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"run_at":""}}'),
    _row("Go's zero", "POST /api/jobs", 202, JOB, f'{A_JOB[:-1]},"run_at":"0001-01-01T00:00:00Z"}}'),
    _row(
        "a pipeline for later",
        "POST /api/pipelines",
        202,
        {**PIPELINE, "description": "d", "run_at": LATER, "jobs": [{**FIRST, "run_at": LATER}, STEP]},
        f'{{"name":"p","description":"d","run_at":"{LATER}","jobs":[{A_JOB},{A_JOB}]}}',
    ),
    _row(
        "results before, and times of jobs",
        "POST /api/pipelines",
        202,
        {**PIPELINE, "jobs": [FIRST, {**STEP, "use_previous_results": True}]},
        f'{{"name":"p","jobs":[{A_JOB},{A_JOB[:-1]},"use_previous_results":true,"run_at":"soon"}}]}}',
    ),
    _row("a description alone", "PATCH /api/jobs/{job}", 204, None, '{"description":"d"}', given="job"),
]
"""What bodies may be."""


def _refused(about: str, path: str, body: str, text: Any, **more: Any) -> Case:
    return _row(about, f"POST /api/{path}", 400, text, body, kept=(0, 0), **more)


def _at(run_at: str) -> str:
    return f'{A_JOB[:-1]},"run_at":"{run_at}"}}'


MESSAGES: Sequence[Case] = [
    _refused("no name", "jobs", '{"task_name":"double"}', "name required"),
    _refused("no task", "jobs", '{"name":"a"}', "task_name required"),
    _refused("neither", "jobs", "{}", "name, task_name required"),
    _refused("empty texts", "jobs", '{"name":"","task_name":""}', "name, task_name required"),
    _refused("an unknown task", "jobs", '{"name":"a","task_name":"nap"}', UNKNOWN),
    _refused("no offset", "jobs", _at("2022-06-06T15:04:05.999"), bad_time("2022-06-06T15:04:05.999", "", "Z07:00")),
    _refused("no time", "jobs", _at("soon"), bad_time("soon", "soon", "2006")),
    _refused("a blank for the T", "jobs", _at("2022-06-06 15:04:05Z"), ...),
    _refused("the time comes first", "jobs", '{"run_at":"soon"}', bad_time("soon", "soon", "2006")),
    _refused("a pipeline without a name", "pipelines", f'{{"jobs":[{A_JOB},{A_JOB}]}}', "name required"),
    _refused("without jobs", "pipelines", '{"name":"p"}', "jobs required"),
    _refused("with none", "pipelines", '{"name":"p","jobs":[]}', "jobs required"),
    _refused("without both", "pipelines", "{}", "name, jobs required"),
    _refused("one job", "pipelines", ONE, "pipeline shoud have at least 2 jobs, 1 given"),
    _refused("jobs come first", "pipelines", '{"jobs":[{"name":"a"}]}', "task_name required"),
    _refused("a bad one behind", "pipelines", f'{{"name":"p","jobs":[{A_JOB},{NAMELESS}]}}', "name required"),
    _refused("no job, no time", "pipelines", '{"name":"p","jobs":[],"run_at":"x"}', "jobs required"),
    _refused("the time of the first", "pipelines", '{"jobs":[{}],"run_at":"x"}', bad_time("x", "x", "2006")),
]
"""The texts of refusals, in Valet's order; nothing is kept."""

DEFECT = "V14: "
BAD = "V14: 400, and the job is created and queued"
TRAPS: Sequence[Case] = [
    _refused("malformed JSON", "jobs", "{", ..., valet=f"{DEFECT}text/plain"),
    _refused("a wrong type", "jobs", f'{A_JOB[:-1]},"timeout":"10"}}', ..., valet=BAD),
    _refused("half a number", "jobs", f'{A_JOB[:-1]},"timeout":1.5}}', ..., valet=BAD),
    _refused("null", "jobs", "null", ..., valet=f"{DEFECT}500, no body"),
    _refused("no body", "jobs", "", ..., valet=f"{DEFECT}text/plain"),
    _refused("a null job", "pipelines", '{"name":"p","jobs":[null]}', ..., valet=f"{DEFECT}500"),
    _row("an edit that is none", "PATCH /api/jobs/{job}", 400, ..., "{", given="job", valet=f"{DEFECT}400, blanked"),
    _row(
        "of a pipeline",
        "PATCH /api/pipelines/{pipeline}",
        400,
        ...,
        '{"name":1}',
        given="pipeline",
        valet=f"{DEFECT}400, blanked",
    ),
    _row("an empty edit", "PATCH /api/jobs/{job}", 204, None, "{}", given="job", valet=f"{DEFECT}blanks both"),
    _row("an id that is none", "GET /api/jobs/42", 404, "job with ID: 42 not found", valet=f"{DEFECT}500 on databases"),
    _row("a quote in a status", "GET /api/jobs?status=%22", 400, 'invalid status: """', valet=f"{DEFECT}500"),
    _row("a backslash", "GET /api/jobs?status=%5C", 400, 'invalid status: "\\"', valet=f"{DEFECT}500"),
    _row("the same name again", "PATCH /api/jobs/{job}", 204, None, '{"name":"a"}', given="job", valet=f"{DEFECT}500"),
    _row("a slash behind", "GET /api/jobs/", 301, ..., headers={"location": "/api/jobs", "content-type": TEXT}),
    _row("the same", "POST /api/jobs/", 307, ..., A_JOB, kept=(0, 0), headers={"location": "/api/jobs"}),
    _row("an unknown path", "GET /api/nowhere", 404, "404 page not found", headers={"content-type": TEXT}),
    _row("a wrong method", "PUT /api/jobs", 404, "404 page not found", headers={"content-type": TEXT}),
    _row("HEAD", "HEAD /api/jobs", 404, headers={"content-type": TEXT}),
    _row("OPTIONS of nobody", "OPTIONS /api/jobs", 404, "404 page not found", headers={"content-type": TEXT}),
]
"""Where Valet's handlers go wrong, and paths that lead nowhere."""

CASES = {
    f"{part}: {number} {case.about}": case
    for part, cases in (
        ("2", ROUTES),
        ("2.1 and 2.3", REQUESTS),
        ("2.2", MESSAGES),
        ("2.4", TRAPS),
    )
    for number, case in enumerate(cases, start=1)
}
