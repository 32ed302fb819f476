"""worksong in the formats of others, beside the workers whose formats they are; a field for each."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests import servers

from bench import faktory
from bench.environments import Refused
from bench.goworker import Goworker, build
from bench.plan import Measuring, Plan
from bench.rabbitmq import Publisher, Rabbitmq
from bench.results import Field, Subject
from bench.server import ResqueServer, running
from bench.system import Failed, PythonSystem, System, subject

PEERS = ("goworker", "faktory_worker_go")
"""Who is measured here, and nowhere else."""


def measure(plan: Plan, directory: Path) -> list[Field]:
    """All that was asked for; without anybody to compare with, a format is left out."""
    fields: list[Field] = []
    if "goworker" in plan.peers:
        fields.append(_resque(plan, directory))
    if "faktory_worker_go" in plan.peers:
        fields += _faktory(plan, directory)
    if "dramatiq" in plan.peers:
        fields += _rabbitmq(plan)
    return fields


def _resque(plan: Plan, directory: Path) -> Field:
    print("worksong on Resque's format", file=sys.stderr)
    with running(ResqueServer) as server:
        others: list[System] = []
        absent: list[Subject] = []
        try:
            others.append(Goworker(build(directory), server, seconds=plan.seconds))
        except (Refused, Failed) as reason:
            print(f"goworker is not measured: {reason}", file=sys.stderr)
            absent.append(Subject(name="goworker", absent=str(reason)))
        worksong = PythonSystem("worksong", server, seconds=plan.seconds)
        return field("Resque", worksong, others, absent, plan)


def _faktory(plan: Plan, directory: Path) -> list[Field]:
    """None where the server cannot be had: it is built together with its peer."""
    print("worksong on Faktory", file=sys.stderr)
    try:
        program = faktory.build(directory)
        with faktory.running(program) as server:
            worker = faktory.FaktoryWorkerGo(program, server, seconds=plan.seconds)
            return [field("Faktory", PythonSystem("worksong", server, seconds=plan.seconds), [worker], [], plan)]
    except (Refused, servers.Missing) as reason:
        print(f"Faktory is not measured: {reason}", file=sys.stderr)
        return []


def _rabbitmq(plan: Plan) -> list[Field]:
    """In the form of Buffalo's adapter, beside dramatiq in its own."""
    with contextlib.ExitStack() as stack:
        try:
            server = Rabbitmq(stack.enter_context(servers.rabbitmq()))
        except servers.Missing as missing:
            print(f"not measured: {missing}", file=sys.stderr)
            return []
        print(f"worksong on {server.version()}", file=sys.stderr)
        others: list[System] = []
        absent: list[Subject] = []
        try:
            others.append(Publisher("dramatiq", server, seconds=plan.seconds))
        except (Refused, Failed) as reason:
            absent.append(Subject(name="dramatiq", absent=str(reason)))
        worksong = Publisher("worksong", server, seconds=plan.seconds)
        return [field("RabbitMQ", worksong, others, absent, plan)]


def field(name: str, worksong: System, others: Sequence[System], absent: Sequence[Subject], plan: Plan) -> Field:
    """worksong beside others; who cannot be had is told."""
    subjects = [*map(subject, [worksong, *others]), *absent]
    pairs = Measuring(worksong, others, subjects, quick=plan.quick).carry_out(plan.rounds, [worksong])
    return Field(name=name, subjects=subjects, pairs=pairs)
