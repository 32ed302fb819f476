"""The domain by tables and by properties: endings, backoff, turns, states, jobs, errors."""

from __future__ import annotations

import inspect
import math
import random
import timeit
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_bench import shown
from worksong.domain import errors, retry
from worksong.domain.capability import INSTEAD, Capability
from worksong.domain.errors import EnqueueOutcomeUnknown, Unsupported, WorksongError
from worksong.domain.job import Job, new_id
from worksong.domain.lifecycle import MOVES, State
from worksong.domain.outcome import Buried, Discarded, Done, Outcome, Retried, Snoozed
from worksong.domain.turns import Sampled, Strict
from worksong.domain.verdict import (
    ERROR_KEPT,
    LONGEST_WAIT,
    Discard,
    Policy,
    Retry,
    Snooze,
    WorkerCrashed,
    error_text,
    of_failure,
    of_value,
)

NOW = 1_700_000_000.0
PATIENT = Policy(retry.fixed(10.0))


class Broken(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Stubborn(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


# endings of runs that returned


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, Done()),
        (0, Done(0)),
        ("", Done("")),
        ({"sent": 3}, Done({"sent": 3})),
        (Retry(5), Retried(NOW + 5, "asked for a retry")),
        (Retry(), Retried(NOW + 10, "asked for a retry")),
        (Retry(0), Retried(NOW, "asked for a retry")),
        (Snooze(60), Snoozed(NOW + 60)),
        (Discard("not wanted"), Discarded("not wanted")),
        (ValueError("returned, not raised"), Done()),
    ],
    ids=shown,
)
def test_what_a_handler_returns_is_its_result_or_its_verdict(value: object, outcome: Outcome) -> None:
    found = of_value(Job("x"), value, PATIENT, NOW)
    assert found == (Done(value) if isinstance(value, ValueError) else outcome)


# endings of runs that raised

STRICT = Policy(retry.fixed(10.0), retry_for=(OSError,), discard_on=(KeyError,))
QUIET = Policy(retry.fixed(10.0), max_fails=2, skip_dead=True)


@pytest.mark.parametrize(
    ("policy", "attempt", "failure", "outcome"),
    [
        (PATIENT, 1, ValueError("boom"), Retried(NOW + 10, "ValueError: boom")),
        (PATIENT, 3, ValueError("boom"), Retried(NOW + 10, "ValueError: boom")),
        (PATIENT, 4, ValueError("boom"), Buried("ValueError: boom")),
        (PATIENT, 99, ValueError("boom"), Buried("ValueError: boom")),
        (PATIENT, 1, ValueError(), Retried(NOW + 10, "ValueError")),
        (PATIENT, 1, SystemExit(3), Retried(NOW + 10, "SystemExit: 3")),
        (PATIENT, 1, Retry(), Retried(NOW + 10, "asked for a retry")),
        (PATIENT, 1, Retry(2.5), Retried(NOW + 2.5, "asked for a retry")),
        (PATIENT, 4, Retry(2.5), Buried("asked for a retry")),
        (PATIENT, 99, Snooze(60), Snoozed(NOW + 60)),
        (PATIENT, 1, Discard(), Discarded("discarded by its handler")),
        (Policy(retry.fixed(10.0), max_fails=1), 1, ValueError("boom"), Buried("ValueError: boom")),
        (STRICT, 1, OSError("away"), Retried(NOW + 10, "OSError: away")),
        (STRICT, 1, ConnectionError("away"), Retried(NOW + 10, "ConnectionError: away")),
        (STRICT, 1, ValueError("boom"), Buried("ValueError: boom")),
        (STRICT, 1, KeyError("gone"), Discarded("KeyError: 'gone'")),
        (STRICT, 1, Retry(5), Retried(NOW + 5, "asked for a retry")),
        (STRICT, 1, Snooze(5), Snoozed(NOW + 5)),
        (QUIET, 1, ValueError("boom"), Retried(NOW + 10, "ValueError: boom")),
        (QUIET, 2, ValueError("boom"), Discarded("ValueError: boom")),
        (PATIENT, 2, WorkerCrashed("worker_crashed:SIGSEGV"), Retried(NOW + 10, "worker_crashed:SIGSEGV")),
        (PATIENT, 3, WorkerCrashed("worker_crashed:SIGSEGV"), Buried("worker_crashed:SIGSEGV")),
    ],
    ids=shown,
)
def test_a_failure_ends_as_the_policy_says(policy: Policy, attempt: int, failure: Exception, outcome: Outcome) -> None:
    assert of_failure(Job("x", attempt=attempt), failure, policy, NOW) == outcome


def test_the_backoff_sees_the_job_as_it_will_be_retried() -> None:
    # Given a backoff that notes what it is asked about
    seen: list[Job] = []

    def backoff(job: Job) -> float:
        seen.append(job)
        return 1.0

    # When a job fails for the second time
    of_failure(Job("x", attempt=2, args=[1]), ValueError("boom"), Policy(backoff), NOW)

    # Then it saw two failures and the last error
    [job] = seen
    assert (job.fails, job.attempt, job.error, job.failed_at, job.args) == (2, 3, "ValueError: boom", NOW, [1])


def _fails(job: Job) -> float:
    raise ZeroDivisionError("no pause")


BROKEN_BACKOFFS: list[Callable[[Job], Any]] = [
    _fails,
    lambda job: None,
    lambda job: "soon",
    lambda job: -1,
    lambda job: math.nan,
    lambda job: math.inf,
    lambda job: LONGEST_WAIT * 2,
]


@pytest.mark.parametrize("backoff", BROKEN_BACKOFFS)
def test_a_broken_backoff_costs_a_minute_and_is_told(backoff: retry.Backoff) -> None:
    outcome = of_failure(Job("x"), ValueError("boom"), Policy(backoff), NOW)
    assert isinstance(outcome, Retried)
    assert outcome.run_at == NOW + 60
    assert outcome.error.startswith("ValueError: boom (its backoff failed, so it waits 60 s: ")


@pytest.mark.parametrize("delay", [-1, -0.001, math.nan, math.inf, LONGEST_WAIT + 1, "soon", [5]], ids=shown)
def test_a_verdict_refuses_a_delay_that_is_none(delay: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Retry(delay)
    with pytest.raises((ValueError, TypeError)):
        Snooze(delay)


# texts of errors


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (Broken(), "Broken: (its message cannot be printed)"),
        (Stubborn(), "Stubborn: (its message cannot be printed)"),
        (Discard("not wanted"), "not wanted"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_told_by_class_and_message(failure: BaseException, text: str) -> None:
    assert error_text(failure) == text


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀", "\ud800"], ids=shown)
@pytest.mark.parametrize("kind", [ValueError, Discard, WorkerCrashed])
def test_no_more_than_8_kib_of_an_error_are_kept(letter: str, kind: type[Exception]) -> None:
    text = error_text(kind(letter * 10_000_000))
    assert 8 * 1024 - 8 <= len(text.encode(errors="replace")) <= ERROR_KEPT == 8 * 1024
    assert text.endswith("…")


@given(st.text(st.characters(exclude_categories=[]), max_size=3000))
def test_shorter_errors_are_kept_whole(message: str) -> None:
    text = error_text(ValueError(message))
    whole = f"ValueError: {message}" if message else "ValueError"
    assert text == whole or (len(whole.encode(errors="surrogatepass")) > ERROR_KEPT and text.endswith("…"))


def test_a_broken_backoff_does_not_make_the_error_longer() -> None:
    outcome = of_failure(Job("x"), ValueError("x" * 10_000), Policy(_fails), NOW)
    assert isinstance(outcome, Retried)
    assert len(outcome.error.encode()) <= ERROR_KEPT


# backoff

fails = st.integers(min_value=1, max_value=10_000)


@given(fails, st.floats(min_value=0, max_value=1, exclude_max=True))
def test_gocrafts_backoff_stays_in_its_range(count: int, drawn: float) -> None:
    delay = retry.gocraft(lambda: drawn)(Job("x", attempt=count + 1))
    low = count**4 + 15
    assert low <= delay <= low + 29 * (count + 1)
    assert (delay - low) % (count + 1) == 0


@pytest.mark.parametrize(("count", "low", "high"), [(1, 16, 74), (2, 31, 118), (3, 96, 212), (4, 271, 416)])
def test_gocrafts_backoff_reaches_both_ends_of_its_range(count: int, low: int, high: int) -> None:
    job = Job("x", attempt=count + 1)
    assert retry.gocraft(lambda: 0.0)(job) == low
    assert retry.gocraft(lambda: 1 - 2**-53)(job) == high


@given(
    fails,
    st.floats(min_value=0, max_value=1e6),
    st.floats(min_value=1, max_value=100),
    st.floats(min_value=0, max_value=1e9),
)
def test_exponential_backoff_never_falls_and_never_exceeds_its_limit(
    count: int, base: float, factor: float, limit: float
) -> None:
    policy = retry.exponential(base, factor=factor, limit=limit)
    earlier, later = policy(Job("x", attempt=count + 1)), policy(Job("x", attempt=count + 2))
    assert 0 <= earlier <= later <= limit


def test_exponential_backoff_doubles() -> None:
    policy = retry.exponential(1.5, limit=20)
    assert [policy(Job("x", attempt=attempt)) for attempt in range(2, 8)] == [1.5, 3, 6, 12, 20, 20]


@given(fails)
def test_fixed_backoff_is_always_the_same(count: int) -> None:
    assert retry.fixed(7.5)(Job("x", attempt=count + 1)) == 7.5


# turns

weights = st.dictionaries(st.text(min_size=1), st.integers(min_value=1, max_value=100_000), min_size=1, max_size=40)


@given(weights, st.integers(min_value=1, max_value=300), st.randoms(use_true_random=False))
def test_every_name_has_its_turn_and_the_quotas_add_up(
    names: Mapping[str, int], limit: int, chance: random.Random
) -> None:
    shares = Sampled(names, chance.random).take(limit)
    assert sorted(share.name for share in shares) == sorted(names)
    if len(names) > 1:
        assert sum(share.quota for share in shares) == limit
    else:
        assert shares[0].quota >= limit


@given(weights, st.integers(min_value=1, max_value=20), st.sampled_from([0.0, 2**-53, 0.5, 1 - 2**-53]))
def test_extreme_draws_are_no_trouble(names: Mapping[str, int], limit: int, drawn: float) -> None:
    assert len(Sampled(names, lambda: drawn).take(limit)) == len(names)


@given(weights, st.integers(min_value=1, max_value=50), st.randoms(use_true_random=False))
def test_names_with_a_quota_come_before_those_without(
    names: Mapping[str, int], limit: int, chance: random.Random
) -> None:
    quotas = [share.quota > 0 for share in Sampled(names, chance.random).take(limit)]
    assert quotas == sorted(quotas, reverse=True)


def test_no_name_means_no_turn() -> None:
    assert Sampled({}, random.random).take(5) == ()


def _near(share: float, total: int) -> Any:
    """Within five standard deviations of a draw repeated `total` times."""
    return pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / total))


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_quotas_follow_the_weights(limit: int) -> None:
    # Given names with weights of 1, 2 and 7 tenths
    sampled = Sampled({"rare": 10, "common": 20, "busy": 70}, random.Random(1).random)

    # When many turns are taken
    drawn: Counter[str] = Counter()
    for _ in range(20_000 // limit):
        drawn.update({share.name: share.quota for share in sampled.take(limit)})

    # Then the jobs are shared out alike, however many are asked for at once
    total = drawn.total()
    for name, share in (("rare", 0.1), ("common", 0.2), ("busy", 0.7)):
        assert drawn[name] / total == _near(share, total)


@pytest.mark.parametrize(("limit", "few"), [(1, 1), (4, 2), (8, 4), (13, 7), (50, 16), (100, 16)])
def test_a_draw_gives_a_half_of_the_jobs_at_most_and_never_many(limit: int, few: int) -> None:
    # Given so many names that hardly one is drawn twice
    sampled = Sampled({f"name{number}": 1 for number in range(10_000)}, random.Random(6).random)

    # When turns are taken, then the quotas are made of whole draws
    quotas = Counter(share.quota % few for _ in range(5) for share in sampled.take(limit) if share.quota)
    assert quotas.pop(0, 0) >= 5 * (limit // few - 1)
    assert quotas.pop(limit % few, 0) <= 5
    assert not quotas


def test_the_order_is_weighted_sampling_without_replacement() -> None:
    # Given three names, asked for one job at a time
    names = {"a": 5, "b": 3, "c": 2}
    sampled = Sampled(names, random.Random(2).random)

    # When the order is drawn often
    times = 20_000
    orders = Counter("".join(share.name for share in sampled.take(1)) for _ in range(times))

    # Then each order comes as often as drawing names from an urn would bring it
    for order, seen in orders.items():
        first, second = order[0], order[1]
        expected = names[first] / 10 * names[second] / (10 - names[first])
        assert seen / times == _near(expected, times)
    assert len(orders) == 6


def test_nobody_starves_beside_a_hundred_thousandfold_weight() -> None:
    # Given a job type of the least and one of the greatest weight
    sampled = Sampled({"least": 1, "greatest": 100_000}, random.Random(3).random)

    # When a turn is taken, then it is asked too, after the other one
    assert all({share.name for share in sampled.take(25)} == {"least", "greatest"} for _ in range(100))


def test_a_strict_order_never_changes() -> None:
    turns = Strict(["high", "default", "low"])
    assert [share.name for share in turns.take(1)] == ["high", "default", "low"]
    assert all(share.quota >= 10_000 for share in turns.take(10_000))


def test_a_turn_costs_little() -> None:
    # Given ten job types, and a machine whose speed is told by a plain loop
    sampled = Sampled({f"job{number}": number + 1 for number in range(10)}, random.Random(4).random)
    draw = random.Random(5).random

    def plain() -> list[int]:
        return [index for index in range(100) if draw() * 10 < 11]

    # When turns of a hundred jobs are taken
    cost = min(timeit.repeat(lambda: sampled.take(100), number=50, repeat=20))
    yardstick = min(timeit.repeat(plain, number=50, repeat=20))

    # Then a draw costs no more than a few steps of the interpreter
    assert cost < 8 * yardstick


# states


def test_every_move_leads_to_a_state_of_the_table() -> None:
    assert set(MOVES) == set(State)
    assert {target for moves in MOVES.values() for target in moves.values()} <= set(State)


@pytest.mark.parametrize(
    ("state", "moves"),
    [
        (State.SCHEDULED, {"promote", "requeue", "delete", "bury"}),
        (State.QUEUED, {"fetch", "delete", "bury"}),
        (State.RUNNING, {"done", "discard", "retry", "snooze", "bury", "release", "reap"}),
        (State.RETRY, {"promote", "requeue", "delete", "bury"}),
        (State.DEAD, {"requeue", "delete"}),
        (State.GONE, set()),
    ],
)
def test_the_moves_of_each_state(state: State, moves: set[str]) -> None:
    assert set(MOVES[state]) == moves


def test_every_state_can_be_reached_and_left_for_good() -> None:
    reached = {State.QUEUED, State.SCHEDULED} | {target for moves in MOVES.values() for target in moves.values()}
    assert reached == set(State)
    for state in State:
        assert _ends(state, set()), f"{state} has no way out"


def _ends(state: State, seen: set[State]) -> bool:
    return state is State.GONE or any(
        _ends(target, seen | {state}) for target in MOVES[state].values() if target not in seen
    )


# jobs


def test_a_job_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Job("x").attempt = 2  # type: ignore[misc]


def test_jobs_count_their_failures() -> None:
    assert [Job("x", attempt=attempt).fails for attempt in (1, 2, 5)] == [0, 1, 4]


def test_ids_are_24_hex_digits_and_differ() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 24 and int(one, 16) >= 0 for one in ids)


# errors

ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, WorksongError) and kind not in (Unsupported, EnqueueOutcomeUnknown)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_without_a_message_says_its_docstring(kind: type[WorksongError]) -> None:
    assert str(kind()) == inspect.getdoc(kind)
    assert str(kind("more")) == "more"


def test_an_unknown_outcome_carries_the_ids() -> None:
    error = EnqueueOutcomeUnknown(["a", "b", "c", "d", "e"], "reset by peer")
    assert error.job_id == "a"
    assert error.job_ids == ("a", "b", "c", "d", "e")
    assert "(reset by peer)" in str(error)
    assert "a, b, c and 2 more may or may not be enqueued" in str(error)


def test_every_instead_is_of_a_known_capability() -> None:
    assert set(INSTEAD) <= set(Capability)
