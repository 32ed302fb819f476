"""Valet's 22 known defects, and all that is kept exactly: each line with what is done here, and what shows it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from service.valet_requests import CASES
from worksong.settings import Reading, read_settings

ROOT = Path(__file__).parents[2]
TABLE = "tests/service/test_valet_requests.py"
SCENARIOS = "tests/service/test_http_valet.py::test_what_clients_ask_is_answered_as_they_know_it"
GRPC = "tests/service/test_grpc.py"
SERVICE = "tests/service/test_jobservice.py"
CONTRACT = "src/worksong/testing/contract"
SETTINGS = "tests/unit/test_settings_valet.py"


class Line(NamedTuple):
    """A line of the specification."""

    valet: str
    """What Valet does; of what is kept: what."""
    here: str
    """What is done here."""
    shown_by: Sequence[str]
    """The tests that show it: FILE::TEST."""


DEFECTS: Mapping[str, Line] = {
    "V1": Line(
        "PostgreSQL drops its data at every start",
        "tables are made by migrations that only add",
        ["tests/sql/test_migrating.py::test_workers_go_on_while_the_tables_go_ahead"],
    ),
    "V2": Line(
        "a pipeline in the memory queue ends the process",
        "what is queued is a copy",
        [SCENARIOS, f"{SERVICE}::test_a_pipeline_runs_in_order_and_hands_on_what_came_before"],
    ),
    "V3": Line(
        "gRPC jobs never run, and cannot ask for previous results",
        "they run; field 7 asks",
        [f"{GRPC}::test_a_job_that_is_created_runs", f"{GRPC}::test_a_pipeline_hands_results_on"],
    ),
    "V4": Line(
        "one job per tick",
        "a fetch waits for jobs, and takes as many as there are slots",
        [f"{CONTRACT}/fetching.py::test_a_fetch_that_waits_hears_of_a_push"],
    ),
    "V5": Line(
        "jobs are lost at restarts, crashes and in transit",
        "the record is the promise: what is missing in the queue is sent again",
        [
            "tests/chaos/test_service.py::"
            "test_g2_whatever_operation_a_process_dies_of_nothing_is_stuck_and_nothing_runs_again",
            "tests/chaos/test_service.py::test_g3_rows_without_a_message_run_once_and_messages_without_a_row_never",
            "tests/amqp/test_outages.py::test_a_killed_server_loses_nothing_that_it_confirmed",
            "tests/unit/test_outbox.py::test_a_queue_that_ended_with_its_process_is_filled_again_from_the_records",
        ],
    ),
    "V6": Line(
        "RabbitMQ without auto_ack is never acknowledged",
        "a job is acknowledged when its result is kept",
        ["tests/amqp/test_outages.py::test_a_killed_worker_loses_nothing"],
    ),
    "V7": Line("no reconnect", "lines are made anew", ["tests/amqp/test_outages.py::test_a_cut_line_is_made_anew"]),
    "V8": Line(
        "the health check may hang for ever",
        "queue and store have two seconds to answer",
        [f"{SERVICE}::test_health_tells_what_is_wrong_with_what"],
    ),
    "V9": Line(
        "a timeout leaves the task running",
        "coroutines are cancelled, and processes killed where a job type is isolated",
        [
            "tests/unit/test_ledger.py::test_a_run_may_take_as_long_as_its_record_says",
            "tests/unit/test_isolation.py::test_a_timeout_kills_the_child_and_what_it_started",
        ],
    ),
    "V10": Line(
        "several instances run a job twice",
        "a job is lent once",
        [f"{CONTRACT}/fetching.py::test_two_pools_racing_for_a_thousand_jobs_get_each_once"],
    ),
    "V11": Line(
        "a fast job can end as SCHEDULED",
        "a record changes only from the version that was read",
        [
            "tests/chaos/test_service.py::"
            "test_g6_whatever_races_with_the_end_of_a_job_its_history_is_a_path_of_the_states"
        ],
    ),
    "V12": Line("jobs of a pipeline stay PENDING in lists", "one record of each job", [SCENARIOS, f"{TABLE}::"]),
    "V13": Line("lists leave task_params out on databases", "lists tell them", [SCENARIOS]),
    "V14": Line(
        "bodies that cannot be read create or blank, ids that are none are 500",
        "400 without an effect, 404; an edit is partial; nothing is kept of what a full queue refuses",
        [
            f"{TABLE}::",
            "tests/service/test_http_valet.py::test_a_body_that_cannot_be_read_creates_nothing",
            "tests/service/test_http_valet.py::test_a_body_that_cannot_be_read_changes_nothing",
            "tests/service/test_http_valet.py::test_a_queue_that_is_full_takes_nothing_and_nothing_is_kept",
        ],
    ),
    "V15": Line("what is behind a failure stays PENDING", "kept, and documented", [SCENARIOS, f"{TABLE}::"]),
    "V16": Line(
        "shutdown crashes, waits without a limit, loses the last result",
        "intake stops, jobs have their grace, the stores close last",
        [
            "tests/faces/test_cli_serve.py::test_it_serves_and_runs_jobs_until_told_to_stop",
            "tests/faces/test_serving.py::test_requests_are_taken_only_while_all_behind_them_stands",
        ],
    ),
    "V17": Line(
        "an error without a text is a success", "a failure is one", [f"{SERVICE}::test_a_failure_without_a_text_is_one"]
    ),
    "V18": Line(
        "no retry, paging, cancelling, metrics, tokens",
        "all of them beside Valet's routes",
        [
            "tests/service/test_http_additions.py::test_a_job_is_cancelled_and_one_that_failed_is_retried",
            "tests/service/test_http_additions.py::test_jobs_come_in_pages_sought_by_status_task_and_words",
            "tests/service/test_http_door.py::test_every_token_opens_what_its_scope_says_and_nothing_else",
            "tests/faces/test_cli_serve.py::test_it_serves_and_runs_jobs_until_told_to_stop",
        ],
    ),
    "V19": Line(
        "on Redis results outlive their jobs, and nothing is ever forgotten",
        "a result goes with its job, and what has ended goes in time",
        [SCENARIOS, "tests/unit/test_ledger.py::test_what_has_ended_is_forgotten_after_its_time"],
    ),
    "V20": Line(
        "an interval of 0 crashes it; 84,600 seconds are the default timeout",
        "intervals have no meaning here, and a job without a timeout has that of its job type",
        ["tests/service/test_valet_spec.py::test_each_key_of_valets_configuration_says_something_or_is_named"],
    ),
    "V21": Line(
        "status is 200 when it is not well",
        "kept; /readyz answers 503",
        [
            "tests/service/test_http_valet.py::test_the_status_is_told_whatever_it_is",
            "tests/service/test_http_additions.py::test_the_service_is_ready_while_queue_and_store_answer",
        ],
    ),
    "V22": Line(
        "a pipeline that lacks a job ends the scheduler",
        "it is told of and taken away, and holds up nothing",
        ["tests/unit/test_outbox.py::test_a_pipeline_without_its_jobs_holds_up_nothing"],
    ),
}

KEPT: Sequence[Line] = [
    Line("paths and verbs", "each has a row", [f"{TABLE}::test_each_route_and_each_of_its_codes_has_a_row"]),
    Line("202 and 204", "the rows tell them", [f"{TABLE}::"]),
    Line("the envelope of errors", "checked of each refusal", [f"{TABLE}::", SCENARIOS]),
    Line("JSON keys, and when they are left out", "rows tell all members, and no other may be there", [f"{TABLE}::"]),
    Line(
        "names and numbers of statuses",
        "names over HTTP, numbers over gRPC",
        [f"{TABLE}::", f"{GRPC}::test_it_answers_as_every_face_does"],
    ),
    Line(
        "durations in milliseconds, times in RFC 3339",
        "as Go writes them",
        [
            "tests/service/test_http_valet.py::"
            "test_durations_are_whole_milliseconds_and_timeouts_in_the_unit_of_the_service"
        ],
    ),
    Line(
        "tables, columns and keys of a store that is there",
        "read as they are; messages in queues are not, since their jobs are in the store",
        [
            "tests/service/test_takeover.py::test_what_has_ended_is_told_as_valet_told_it",
            "tests/service/test_takeover.py::test_what_had_not_run_runs_here",
        ],
    ),
    Line("names and numbers of gRPC", "field for field", [f"{GRPC}::test_the_messages_are_valets_field_for_field"]),
    Line(
        "keys of the configuration, with their checks and words",
        "each says something, or is named as one that does not",
        [
            f"{SETTINGS}::test_a_configuration_of_valets_becomes_ours",
            f"{SETTINGS}::test_what_valet_refuses_is_refused_in_its_words",
            "tests/service/test_valet_spec.py::test_each_key_of_valets_configuration_says_something_or_is_named",
        ],
    ),
    Line(
        "variables and secret files",
        "read where Valet reads them",
        [
            f"{SETTINGS}::test_secrets_may_be_files_of_a_container",
            f"{SETTINGS}::test_rabbitmq_and_postgresql_keep_their_urls",
            f"{SETTINGS}::test_the_authority_that_valet_trusts_is_trusted",
        ],
    ),
    Line("texts of refusals", "to the letter", [f"{TABLE}::", SCENARIOS]),
    Line(
        "CORS, where all origins are allowed",
        "with allowed_origins=*, and only then",
        ["tests/service/test_http_door.py::test_pages_of_allowed_origins_may_ask_as_with_valet"],
    ),
]


def _shown() -> Iterator[str]:
    for line in (*DEFECTS.values(), *KEPT):
        yield from line.shown_by


@pytest.mark.parametrize("place", sorted(set(_shown())))
def test_what_shows_a_line_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    assert not name or name in _tests_of(ROOT / file), place


def test_each_defect_has_a_line() -> None:
    assert list(DEFECTS) == [f"V{number}" for number in range(1, 23)]
    named = {case.valet.partition(":")[0] for case in CASES.values() if case.valet.startswith("V")}
    assert named <= set(DEFECTS)


@cache
def _tests_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


EVERY_KEY: Mapping[str, Any] = {
    "server": {"protocol": "http", "http": {"port": 8080}, "grpc": {"port": 50051}},
    "job_queue": {
        "option": "rabbitmq",
        "memory_job_queue": {"capacity": 100},
        "rabbitmq": {
            "queue_params": {
                "name": "job",
                "durable": False,
                "deleted_when_unused": False,
                "exclusive": False,
                "no_wait": False,
            },
            "consume_params": {
                "name": "rabbitmq-consumer",
                "auto_ack": True,
                "exclusive": False,
                "no_local": False,
                "no_wait": False,
            },
            "publish_params": {"exchange": "valet", "routing_key": "job", "mandatory": False, "immediate": False},
        },
        "redis": {"key_prefix": "valet", "pool_size": 10, "min_idle_conns": 10},
    },
    "worker_pool": {"workers": 4, "queue_capacity": 8},
    "scheduler": {"storage_polling_interval": 60, "job_queue_polling_interval": 0},
    "storage": {
        "option": "redis",
        "mysql": {"connection_max_lifetime": 3000, "max_idle_connections": 8, "max_open_connections": 8},
        "postgres": {"connection_max_lifetime": 3000, "max_idle_connections": 8, "max_open_connections": 8},
        "redis": {"key_prefix": "kept", "pool_size": 10, "min_idle_conns": 10},
    },
    "timeout_unit": "second",
    "logging_format": "json",
}
"""All keys that Valet documents, with its defaults or those of its sample."""

SAYS = {
    "server.protocol",
    "server.http.port",
    "server.grpc.port",
    "job_queue.option",
    "job_queue.rabbitmq.publish_params.exchange",
    "job_queue.redis.key_prefix",
    "worker_pool.workers",
    "storage.option",
    "storage.redis.key_prefix",
    "timeout_unit",
    "logging_format",
}
"""Those that mean something here. Each other one is named at the start, by itself or with all of its section."""


def test_each_key_of_valets_configuration_says_something_or_is_named(tmp_path: Path) -> None:
    # Given a configuration with every key there is
    warnings = _read(tmp_path, EVERY_KEY).warnings
    # Then each that means nothing is named with its reason, and no other one
    for key in _keys(EVERY_KEY):
        sections = [".".join(key.split(".")[:depth]) for depth in range(1, key.count(".") + 2)]
        is_named = any(f": {section} has no meaning here: " in text for section in sections for text in warnings)
        assert is_named is (key not in SAYS), key


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.http.port", 8081),
        ("job_queue.option", "memory"),
        ("job_queue.rabbitmq.publish_params.exchange", "other"),
        ("worker_pool.workers", 3),
        ("storage.option", "memory"),
        ("storage.redis.key_prefix", "other"),
        ("timeout_unit", "millisecond"),
        ("logging_format", "text"),
        ("server.protocol", "grpc"),
    ],
)
def test_each_key_that_says_something_changes_something(key: str, value: Any, tmp_path: Path) -> None:
    changed: Any = copy.deepcopy(EVERY_KEY)
    *sections, name = key.split(".")
    within = changed
    for section in sections:
        within = within[section]
    within[name] = value
    assert _read(tmp_path, changed).settings != _read(tmp_path, EVERY_KEY).settings


def _read(directory: Path, document: Mapping[str, Any]) -> Reading:
    path = directory / "config.yaml"
    path.write_bytes(msgspec.yaml.encode(document))
    secrets = {"REDIS_URL": "redis://redis:6379/1", "RABBITMQ_URI": "amqp://rabbit"}
    return read_settings(path, secrets, secrets=directory)


def _keys(section: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
