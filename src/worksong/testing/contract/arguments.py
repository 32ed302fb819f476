"""What a job carries comes back as it went in, or is refused before anything is enqueued."""

from __future__ import annotations

from typing import Any

import pytest

from worksong.domain.capability import Capability
from worksong.domain.errors import InvalidArguments, PayloadTooLarge
from worksong.domain.lifecycle import State
from worksong.domain.outcome import Retried
from worksong.ports.backend import Backend
from worksong.testing.contract.steps import T, a_job, fetch, join, lend, lent_ids, listed, look, push, settle
from worksong.testing.contract.suite import Suite, needs

SAFE = 2**53 - 1
CARRIED: dict[str, dict[str, Any]] = {
    "text": {"text": "smörgåsbord 漢字 \N{PARTY POPPER} \u202eabc"},
    "unicode names": {"größe": 1, "\N{PARTY POPPER}": 2, "": 3},
    "text that other formats escape": {"text": '<a href="x">&amp;</a> \\ / \' \u2028 \u2029 %s {0} ${x}'},
    "control characters": {"text": "\0\x01\b\t\n\f\r\x1b\x7f"},
    "numbers": {"int": -17, "zero": 0, "float": 0.1, "small": 5e-324, "large": 1.7976931348623157e308},
    "largest safe integers": {"high": SAFE, "low": -SAFE},
    "constants": {"yes": True, "no": False, "nothing": None},
    "nested": {"a": {"b": [{"c": [[], {}, [[1]], {"d": None}]}]}},
    "empty containers": {"list": [], "dict": {}, "text": ""},
    "names like members of a job": {"name": "x", "id": "y", "args": [1], "t": 2, "fails": 3, "queue": "z"},
    "many": {f"key{n}": n for n in range(1000)},
    "900 kB": {"text": "x" * 900_000},
}
REFUSED: dict[str, Any] = {
    "not a number": {"x": float("nan")},
    "infinity": {"x": [float("inf")]},
    "bytes": {"x": b"raw"},
    "a set": {"x": {1, 2}},
    "an object": {"x": object()},
    "half of a surrogate pair": {"x": "\ud800"},
    "half of a surrogate pair in a name": {"\udc00": 1},
    "a name that is no text": {"x": {1: "one"}},
    "a name that is None": {None: "none"},
}


def nested(depth: int) -> dict[str, Any]:
    """Arguments with so many levels."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"x": value}


class Arguments(Suite):
    @pytest.mark.parametrize("what", CARRIED)
    async def test_arguments_come_back_as_they_went_in(self, backend: Backend, what: str) -> None:
        _, delivery = await lend(backend, a_job(args=CARRIED[what]))
        assert delivery.job.args == CARRIED[what]

    async def test_a_job_without_arguments_has_none(self, backend: Backend) -> None:
        _, delivery = await lend(backend, a_job(args={}))
        assert not delivery.job.args

    async def test_depth_of_64_levels_is_carried(self, backend: Backend) -> None:
        _, delivery = await lend(backend, a_job(args=nested(60)))
        assert delivery.job.args == nested(60)

    @needs(Capability.POSITIONAL)
    async def test_a_list_of_arguments_comes_back_as_a_list(self, backend: Backend) -> None:
        _, delivery = await lend(backend, a_job(args=[1, "two", None, {"three": 3}]))
        assert delivery.job.args == [1, "two", None, {"three": 3}]

    async def test_what_was_pushed_is_not_what_the_caller_changes_later(self, backend: Backend) -> None:
        args = {"list": [1]}
        await push(backend, a_job(args=args))
        args["list"].append(2)
        pool = await join(backend)
        (delivery,) = await fetch(backend, pool)
        assert delivery.job.args == {"list": [1]}

    async def test_id_type_queue_time_and_first_attempt_come_back(self, backend: Backend) -> None:
        job = a_job("mail.send-all:v2@eu/west", queue="low", enqueued_at=T + 7)
        _, delivery = await lend(backend, job)
        came = delivery.job
        assert (came.id, came.handler, came.queue) == (job.id, "mail.send-all:v2@eu/west", "low")
        assert (came.enqueued_at, came.attempt, came.fails, came.error) == (T + 7, 1, 0, "")

    @needs(Capability.BROWSE)
    async def test_an_error_text_of_any_characters_is_kept(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        text = "ValueError: \N{PARTY POPPER} <b>\n\x1b[31m\0" + "long " * 1000
        assert await settle(backend, delivery, Retried(T + 60, text))
        assert (await look(backend, delivery)).job.error == text

    @needs(Capability.BROWSE)
    async def test_an_error_text_with_half_of_a_surrogate_pair_does_not_keep_the_job(self, backend: Backend) -> None:
        _, delivery = await lend(backend)
        assert await settle(backend, delivery, Retried(T + 60, "broken \ud800 text"))
        assert (await look(backend, delivery)).state is State.RETRY
        assert len(await listed(backend, State.RETRY)) == 1

    @pytest.mark.parametrize("what", REFUSED)
    async def test_what_cannot_be_carried_is_refused(self, backend: Backend, what: str) -> None:
        with pytest.raises(InvalidArguments):
            await push(backend, a_job(args=REFUSED[what]))
        assert await lent_ids(backend, await join(backend)) == []

    async def test_a_whole_batch_is_refused_with_one_bad_job(self, backend: Backend) -> None:
        with pytest.raises(InvalidArguments):
            await push(backend, a_job(), a_job(args={"x": b"raw"}), a_job("other"))
        assert await lent_ids(backend, await join(backend, "send", "other")) == []

    async def test_a_job_over_one_mebibyte_is_too_large(self, backend: Backend) -> None:
        with pytest.raises(PayloadTooLarge):
            await push(backend, a_job(args={"text": "x" * (1 << 20)}))
        assert await lent_ids(backend, await join(backend)) == []

    @pytest.mark.parametrize("depth", [70, 1001, 100_000])
    async def test_what_is_nested_too_deep_is_refused(self, backend: Backend, depth: int) -> None:
        with pytest.raises(InvalidArguments):
            await push(backend, a_job(args=nested(depth)))

    @pytest.mark.parametrize("huge", [2**53, 2**64, -(2**63), 10**400], ids=["2**53", "2**64", "-2**63", "10**400"])
    async def test_a_huge_integer_is_exact_or_refused(self, backend: Backend, huge: int) -> None:
        try:
            await push(backend, a_job(args={"x": huge}))
        except InvalidArguments:
            return
        (delivery,) = await fetch(backend, await join(backend))
        assert delivery.job.args == {"x": huge}
