"""What clients of Valet ask, and what they are told: one table for every face that answers them.

A driver translates a verb and its fields into its own protocol, and what comes back into Valet's JSON keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

NOBODY = "7f0ddc2f-1f1d-4c76-9f5b-2a4b7e0a9d11"
LAYOUT = "2006-01-02T15:04:05.999999999Z07:00"
TASKS = "[double fail greet slow]"

Fields = Mapping[str, Any]


class Verb(Enum):
    """What can be asked on every face."""

    TASKS = "tasks"
    CREATE_JOB = "create job"
    JOBS = "jobs"
    JOB = "job"
    EDIT_JOB = "edit job"
    DELETE_JOB = "delete job"
    RESULT = "result"
    DELETE_RESULT = "delete result"
    CREATE_PIPELINE = "create pipeline"
    PIPELINES = "pipelines"
    PIPELINE = "pipeline"
    PIPELINE_JOBS = "pipeline jobs"
    EDIT_PIPELINE = "edit pipeline"
    DELETE_PIPELINE = "delete pipeline"


class Code(Enum):
    """How it went."""

    DONE = "done"
    INVALID = "invalid"
    MISSING = "missing"
    CONFLICT = "conflict"


class Ask(NamedTuple):
    """A request. In ids, `{job}`, `{first}` and `{pipeline}` stand for what was created before: the job, the first job
    of the pipeline, the pipeline."""

    verb: Verb
    fields: Fields = MappingProxyType({})
    """The body; of a list, the filter."""
    id: str = ""


class Reply(NamedTuple):
    """What came back."""

    code: Code
    body: Any
    """With Valet's JSON keys; of a refusal, the text."""


class Driver(Protocol):
    """A face, asked through its protocol."""

    async def ask(self, ask: Ask) -> Reply: ...


class Scenario(NamedTuple):
    """One request, and all that is expected of it."""

    name: str
    ask: Ask
    code: Code = Code.DONE
    body: Any = None
    """Members that must be there, with these values; None: nothing is looked at. `...`: any value."""
    lacks: Sequence[str] = ()
    """Members that must not be there."""
    given: Sequence[Ask] = ()
    """What was asked before, and done."""
    ended: bool = False
    """Whether what was created before has ended by then."""
    jobs: int | None = None
    """How many jobs are kept afterwards; None: nobody counts."""
    pipelines: int | None = None


UNSET = ("description", "timeout", "pipeline_id", "next_job_id", "use_previous_results", "next")
"""What a plain job does not have."""


def job(task: str = "double", **fields: Any) -> dict[str, Any]:
    """A job that can be created."""
    return {"name": f"a {task}", "task_name": task, **fields}


def pipe(*tasks: str, **fields: Any) -> dict[str, Any]:
    """A pipeline that can be created."""
    return {"name": "a pipeline", "jobs": [job(task) for task in tasks], **fields}


DOUBLE = Ask(Verb.CREATE_JOB, job(task_params={"n": 4}))
FAIL = Ask(Verb.CREATE_JOB, job("fail"))
PIPE = Ask(Verb.CREATE_PIPELINE, pipe("double", "double"))
BROKEN = Ask(Verb.CREATE_PIPELINE, pipe("double", "fail", "double"))
LATER = f"{datetime.now(UTC).year + 2}-01-02T03:04:05.25+02:00"


def bad_time(text: str, rest: str, place: str) -> str:
    return f'parsing time "{text}" as "{LAYOUT}": cannot parse "{rest}" as "{place}"'


def _bad(name: str, verb: Verb, fields: Fields, text: str) -> Scenario:
    return Scenario(name, Ask(verb, fields), Code.INVALID, text, jobs=0, pipelines=0)


_CREATED = [
    Scenario("the tasks", Ask(Verb.TASKS), body={"tasks": ["double", "fail", "greet", "slow"]}),
    Scenario(
        "a job",
        DOUBLE,
        body={"id": ..., "name": "a double", "task_name": "double", "task_params": {"n": 4}, "status": "PENDING"},
        lacks=["run_at", "scheduled_at", "started_at", "completed_at", "failure_reason", "duration", *UNSET],
        jobs=1,
    ),
    Scenario(
        "a job with all fields",
        Ask(Verb.CREATE_JOB, job(description="why", timeout=30, run_at=LATER, task_params={"n": 1, "deep": [{}]})),
        body={"description": "why", "timeout": 30, "run_at": LATER, "task_params": {"n": 1, "deep": [{}]}},
        jobs=1,
    ),
    Scenario("a job without parameters", Ask(Verb.CREATE_JOB, job(task_params={})), body={}, lacks=["task_params"]),
    Scenario("a job at once", Ask(Verb.CREATE_JOB, job(run_at="")), body={}, lacks=["run_at"]),
    Scenario("no time", Ask(Verb.CREATE_JOB, job(run_at="0001-01-01T00:00:00Z")), body={}, lacks=["run_at"]),
    Scenario("a time that is over", Ask(Verb.CREATE_JOB, job(run_at="2022-06-06T15:04:05Z")), jobs=1),
    Scenario("a negative timeout", Ask(Verb.CREATE_JOB, job(timeout=-5)), body={"timeout": -5}, jobs=1),
    Scenario("a name of blanks", Ask(Verb.CREATE_JOB, job(name=" ")), body={"name": " "}, jobs=1),
    Scenario(
        "a pipeline",
        PIPE,
        body={"id": ..., "name": "a pipeline", "status": "PENDING", "created_at": ..., "jobs": ...},
        lacks=["run_at", "started_at", "completed_at", "duration", "description"],
        jobs=2,
        pipelines=1,
    ),
    Scenario(
        "a pipeline for later",
        Ask(Verb.CREATE_PIPELINE, pipe("double", "double", run_at=LATER, description="etl")),
        body={"run_at": LATER, "description": "etl"},
    ),
    Scenario(
        "times of the jobs of a pipeline are passed over",
        Ask(Verb.CREATE_PIPELINE, {"name": "p", "jobs": [job(run_at="soon"), job(run_at=LATER)]}),
        lacks=["run_at"],
        body={},
    ),
]

_REFUSED = [
    _bad("nothing", Verb.CREATE_JOB, {}, "name, task_name required"),
    _bad("no name", Verb.CREATE_JOB, {"task_name": "double"}, "name required"),
    _bad("an empty task", Verb.CREATE_JOB, {"name": "x", "task_name": ""}, "task_name required"),
    _bad("an unknown task", Verb.CREATE_JOB, job("nap"), f"nap is not a valid task name - valid tasks: {TASKS}"),
    _bad(
        "a time without an offset",
        Verb.CREATE_JOB,
        job(run_at="2022-06-06T15:04:05.999"),
        bad_time("2022-06-06T15:04:05.999", "", "Z07:00"),
    ),
    _bad("a time before all else", Verb.CREATE_JOB, {"run_at": "soon"}, bad_time("soon", "soon", "2006")),
    _bad("an empty pipeline", Verb.CREATE_PIPELINE, {}, "name, jobs required"),
    _bad("no jobs", Verb.CREATE_PIPELINE, {"name": "p", "jobs": []}, "jobs required"),
    _bad("no jobs, and a bad time", Verb.CREATE_PIPELINE, {"name": "p", "jobs": [], "run_at": "x"}, "jobs required"),
    _bad(
        "one job",
        Verb.CREATE_PIPELINE,
        {"name": "p", "jobs": [job()]},
        "pipeline shoud have at least 2 jobs, 1 given",
    ),
    _bad("jobs come first", Verb.CREATE_PIPELINE, {"jobs": [{"name": "x"}]}, "task_name required"),
    _bad(
        "the time comes with the first job",
        Verb.CREATE_PIPELINE,
        {"jobs": [{}], "run_at": "soon"},
        bad_time("soon", "soon", "2006"),
    ),
    _bad("a nameless pipeline", Verb.CREATE_PIPELINE, {"jobs": [job(), job()]}, "name required"),
    Scenario("a status that is none", Ask(Verb.JOBS, {"status": "foo"}), Code.INVALID, 'invalid status: "FOO"'),
    Scenario("the same of pipelines", Ask(Verb.PIPELINES, {"status": "nap"}), Code.INVALID, 'invalid status: "NAP"'),
]

_MISSING = [
    Scenario(f"{verb.value} of {what}", Ask(verb, fields, record_id), Code.MISSING, f"{noun} with ID: {told} not found")
    for record_id, told, what in ((NOBODY, NOBODY, "nobody"), ("42", "42", "an id that is none"))
    for verb, fields, noun in (
        (Verb.JOB, {}, "job"),
        (Verb.EDIT_JOB, {"name": "x"}, "job"),
        (Verb.DELETE_JOB, {}, "job"),
        (Verb.RESULT, {}, "job result"),
        (Verb.DELETE_RESULT, {}, "job result"),
        (Verb.PIPELINE, {}, "pipeline"),
        (Verb.PIPELINE_JOBS, {}, "pipeline"),
        (Verb.EDIT_PIPELINE, {"name": "x"}, "pipeline"),
        (Verb.DELETE_PIPELINE, {}, "pipeline"),
    )
]

_RAN = [
    Scenario(
        "a job that completed",
        Ask(Verb.JOB, id="{job}"),
        body={"status": "COMPLETED", "started_at": ..., "completed_at": ..., "duration": ...},
        lacks=["failure_reason", "scheduled_at"],
        given=[DOUBLE],
        ended=True,
    ),
    Scenario(
        "its result",
        Ask(Verb.RESULT, id="{job}"),
        body={"job_id": ..., "metadata": 8},
        lacks=["error"],
        given=[DOUBLE],
        ended=True,
    ),
    Scenario(
        "a job that failed",
        Ask(Verb.JOB, id="{job}"),
        body={"status": "FAILED", "failure_reason": "no such customer"},
        given=[FAIL],
        ended=True,
    ),
    Scenario(
        "the result of a failure",
        Ask(Verb.RESULT, id="{job}"),
        body={"error": "no such customer"},
        lacks=["metadata"],
        given=[FAIL],
        ended=True,
    ),
    Scenario(
        "jobs that failed",
        Ask(Verb.JOBS, {"status": "failed"}),
        body={"jobs": [{"task_name": "fail"}]},
        given=[DOUBLE, FAIL],
        ended=True,
    ),
    Scenario("no jobs", Ask(Verb.JOBS), body={"jobs": []}),
    Scenario("no pipelines", Ask(Verb.PIPELINES), body={"pipelines": []}),
    Scenario(
        "the parameters of listed jobs",
        Ask(Verb.JOBS),
        body={"jobs": [{"task_params": {"n": 4}}]},
        given=[DOUBLE],
    ),
    Scenario(
        "a pipeline that completed",
        Ask(Verb.PIPELINE, id="{pipeline}"),
        body={"status": "COMPLETED", "started_at": ..., "completed_at": ..., "duration": ...},
        lacks=["jobs"],
        given=[PIPE],
        ended=True,
    ),
    Scenario(
        "listed pipelines tell no jobs",
        Ask(Verb.PIPELINES, {"status": "COMPLETED"}),
        body={"pipelines": [{"name": "a pipeline", "status": "COMPLETED"}]},
        given=[PIPE],
        ended=True,
    ),
    Scenario(
        "its jobs tell the truth",
        Ask(Verb.PIPELINE_JOBS, id="{pipeline}"),
        body={"jobs": [{"status": "COMPLETED"}, {"status": "COMPLETED"}]},
        given=[PIPE],
        ended=True,
    ),
    Scenario(
        "a pipeline that broke",
        Ask(Verb.PIPELINE, id="{pipeline}"),
        body={"status": "FAILED"},
        given=[BROKEN],
        ended=True,
    ),
    Scenario(
        "what was behind the break stays pending",
        Ask(Verb.PIPELINE_JOBS, id="{pipeline}"),
        body={"jobs": [{"status": "COMPLETED"}, {"status": "FAILED"}, {"status": "PENDING"}]},
        given=[BROKEN],
        ended=True,
    ),
]

_CHANGED = [
    Scenario("a new name", Ask(Verb.EDIT_JOB, {"name": "new", "description": "d"}, "{job}"), given=[DOUBLE], jobs=1),
    Scenario(
        "the new name",
        Ask(Verb.JOB, id="{job}"),
        body={"name": "new", "description": "why"},
        given=[DOUBLE, Ask(Verb.EDIT_JOB, {"name": "new", "description": "why"}, "{job}")],
    ),
    Scenario(
        "a new name of a pipeline",
        Ask(Verb.PIPELINE, id="{pipeline}"),
        body={"name": "new", "description": "why"},
        given=[PIPE, Ask(Verb.EDIT_PIPELINE, {"name": "new", "description": "why"}, "{pipeline}")],
    ),
    Scenario("a job deleted", Ask(Verb.DELETE_JOB, id="{job}"), given=[DOUBLE], ended=True, jobs=0),
    Scenario(
        "a job that waits deleted",
        Ask(Verb.DELETE_JOB, id="{job}"),
        given=[Ask(Verb.CREATE_JOB, job(run_at=LATER))],
        jobs=0,
    ),
    Scenario(
        "its result goes with it",
        Ask(Verb.RESULT, id="{job}"),
        Code.MISSING,
        "job result with ID: {job} not found",
        given=[DOUBLE, Ask(Verb.DELETE_JOB, id="{job}")],
        ended=True,
    ),
    Scenario(
        "a job of a pipeline stays",
        Ask(Verb.DELETE_JOB, id="{first}"),
        Code.CONFLICT,
        "job with ID: {first} can not be deleted because it belongs \n\t\t\t\t"
        "to a pipeline - try to delete the pipeline instead",
        given=[PIPE],
        jobs=2,
    ),
    Scenario(
        "a pipeline goes with its jobs",
        Ask(Verb.DELETE_PIPELINE, id="{pipeline}"),
        given=[PIPE],
        ended=True,
        jobs=0,
        pipelines=0,
    ),
    Scenario("a result deleted", Ask(Verb.DELETE_RESULT, id="{job}"), given=[DOUBLE], ended=True, jobs=1),
    Scenario(
        "a result is deleted once",
        Ask(Verb.DELETE_RESULT, id="{job}"),
        Code.MISSING,
        "job result with ID: {job} not found",
        given=[DOUBLE, Ask(Verb.DELETE_RESULT, id="{job}")],
        ended=True,
    ),
]

SCENARIOS = [*_CREATED, *_REFUSED, *_MISSING, *_RAN, *_CHANGED]
