"""Records: all changes of a step or none, and each field as it was written."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from worksong.domain.errors import BackendUnavailable
from worksong.ports.records import Change, Kind, Record, RecordStore, Ref
from worksong.testing.contract.record_lists import Listed
from worksong.testing.contract.record_steps import a_record, all_of, changed, new
from worksong.testing.contract.steps import T

HOSTILE = (
    "a",
    "A",
    "a ",
    " a",
    "a:b",
    "job:a",
    "*",
    "a*",
    "[a]",
    "{a}",
    "%s",
    "%",
    "_",
    "\\",
    "'; DROP TABLE worksong_record; --",
    '"a"',
    "ä",
    "a\u0308",
    "ß",
    "ss",
    "日本",
    "\U0001f600",
    "x" * 200,
)
"""Ids that somebody may take for something else, or for one another."""
BODIES = (b"", b"\x00", b"\xff\xfe\x00{", b"null", "Grüße\x00".encode(), b"\x00\xff" * (1 << 20))
WRITERS, ROUNDS = 6, 12


class RecordStoreContract(Listed):
    """For stores of records: give `store` as a fixture, a fresh, empty one for each test, closed afterwards."""

    pytestmark = pytest.mark.asyncio

    def unreachable(self) -> RecordStore | None:
        """A store whose server does not answer, if there is a server."""
        return None

    def neighbour(self) -> RecordStore | None:
        """Another namespace in the same place, if there is such a thing."""
        return None

    # what is written

    async def test_every_field_comes_back_as_it_was_written(self, store: RecordStore) -> None:
        record = Record(
            Ref(Kind.PIPELINE, "p"),
            b"{}",
            created_at=T + 0.123457,
            status=3,
            unsent_since=T + 0.000001,
            until=T + 1e9,
            version=1 << 40,
        )
        assert await store.write(new(record))
        assert await store.read([record.ref]) == [record]
        assert await store.listed(Kind.PIPELINE) == [record]
        assert await store.unsent(T + 1, 9) == [record]

    @pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{len(body)} bytes")
    async def test_a_body_is_bytes_of_any_kind_and_length(self, store: RecordStore, body: bytes) -> None:
        record = a_record(body=body)
        assert await store.write(new(record))
        assert await store.read([record.ref]) == [record]
        assert await store.write([changed(record, body=body[::-1])])
        (found,) = await store.read([record.ref])
        assert found is not None
        assert found.body == body[::-1]

    async def test_no_id_is_taken_for_another(self, store: RecordStore) -> None:
        # Given records of all kinds under ids that look like something else
        records = [a_record(one, kind, body=f"{kind}{one}".encode()) for one in HOSTILE for kind in Kind]
        assert await store.write(new(*records))
        # When one half is taken away again
        assert await store.write([Change(record.ref, 1, None) for record in records[::2]])
        # Then the other half is as it was
        found = await store.read([record.ref for record in records])
        assert found == [None if number % 2 == 0 else record for number, record in enumerate(records)]

    async def test_what_is_read_comes_in_the_order_asked_for(self, store: RecordStore) -> None:
        records = [a_record() for _ in range(700)]
        assert await store.write(new(*records))
        asked = [record.ref for record in records]
        random.Random(1).shuffle(asked)
        nobody = Ref(Kind.JOB, "nobody")
        found = await store.read([nobody, *asked, asked[0]])
        assert [one and one.ref for one in found] == [None, *asked, asked[0]]

    async def test_nothing_is_no_trouble(self, store: RecordStore) -> None:
        assert await store.write([])
        assert await store.read([]) == []
        assert await store.listed(Kind.KEY) == []
        assert await store.unsent(T, 9) == []
        assert await store.prune(T) == 0

    # all or nothing

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("wrong", ["there already", "not there", "another version", "gone", "another version gone"])
    async def test_a_step_in_which_one_change_does_not_fit_changes_nothing(
        self, store: RecordStore, place: int, wrong: str
    ) -> None:
        # Given three records, and a step that changes all of them, brings another one in and takes one away
        before = [a_record(str(number), created_at=T + number) for number in range(3)]
        doomed, fresh = a_record("doomed"), a_record("fresh")
        assert await store.write(new(*before, doomed))
        step = [*(changed(record, status=5, until=T) for record in before), Change(doomed.ref, 1, None), *new(fresh)]
        # When one of them is not as it says
        step[place] = {
            "there already": Change(before[place].ref, None, before[place]),
            "not there": changed(a_record("nobody")),
            "another version": step[place]._replace(was=2),
            "gone": Change(Ref(Kind.JOB, "nobody"), 1, None),
            "another version gone": Change(before[place].ref, 7, None),
        }[wrong]
        assert not await store.write(step)
        # Then all is as it was
        assert await store.read([record.ref for record in (*before, doomed, fresh)]) == [*before, doomed, None]
        assert await all_of(store) == ["doomed", "0", "1", "2"]
        assert await all_of(store, status=5) == []
        assert await store.prune(T + 9) == 0

    async def test_what_was_taken_away_can_be_brought_in_anew(self, store: RecordStore) -> None:
        record = a_record("a", created_at=T, status=1, unsent_since=T, until=T + 9)
        assert await store.write(new(record))
        assert await store.write([Change(record.ref, 1, None)])
        assert await store.read([record.ref]) == [None]
        assert (await all_of(store), await store.unsent(T, 9), await store.prune(T + 10)) == ([], [], 0)
        assert await store.write(new(replace(record, created_at=T + 5)))
        assert await all_of(store) == ["a"]

    async def test_of_many_who_bring_in_the_same_one_does(self, store: RecordStore) -> None:
        # Given a record that several want to bring in, each together with one of its own
        shared = [a_record("shared", body=str(number).encode()) for number in range(WRITERS)]
        others = [store.sibling() for _ in range(WRITERS)]
        own = [a_record(f"own{number}") for number in range(WRITERS)]
        # When they do so at the same time
        steps = [new(*pair) for pair in zip(shared, own, strict=True)]
        wrote = await asyncio.gather(*(one.write(step) for one, step in zip(others, steps, strict=True)))
        # Then it is one of them, and only what belongs to that one is there
        assert wrote.count(True) == 1
        winner = wrote.index(True)
        assert await store.read([shared[0].ref]) == [shared[winner]]
        assert sorted(await all_of(store)) == sorted(["shared", own[winner].ref.id])
        for one in others:
            await one.close()

    async def test_no_change_of_many_writers_is_lost(self, store: RecordStore) -> None:
        # Given records that each writer changes several of, in an order of its own
        names = ("a", "b", "c", "d")
        assert await store.write(new(*(a_record(name, body=b"0") for name in names)))
        done: Counter[str] = Counter()

        async def write(seed: int) -> None:
            mine, chance = store.sibling(), random.Random(seed)
            for _ in range(ROUNDS):
                chosen = chance.sample(names, 3)
                await self._count_up(mine, chosen)
                done.update(chosen)
            await mine.close()

        # When all of them count up
        await asyncio.gather(*map(write, range(WRITERS)))
        # Then every step is there, whole
        found = await store.read([Ref(Kind.JOB, name) for name in names])
        assert {one.ref.id: int(one.body) for one in found if one} == done
        assert {one.ref.id: one.version - 1 for one in found if one} == done
        assert done.total() == WRITERS * ROUNDS * 3

    async def _count_up(self, store: RecordStore, names: Sequence[str]) -> None:
        counted = False
        while not counted:
            found = await store.read([Ref(Kind.JOB, name) for name in names])
            counted = await store.write([changed(one, body=b"%d" % (int(one.body) + 1)) for one in found if one])

    async def test_who_reads_sees_a_step_whole(self, store: RecordStore) -> None:
        # Given two records that hold a hundred together
        refs = [Ref(Kind.JOB, "a"), Ref(Kind.KEY, "b")]
        assert await store.write(new(Record(refs[0], b"50"), Record(refs[1], b"50")))
        over = asyncio.Event()

        async def move() -> None:
            mine = store.sibling()
            for number in range(30):
                one, other = await mine.read(refs)
                assert one is not None
                assert other is not None
                sums = [int(one.body) + 1 - 2 * (number % 2), int(other.body) - 1 + 2 * (number % 2)]
                assert await mine.write([changed(one, body=b"%d" % sums[0]), changed(other, body=b"%d" % sums[1])])
            over.set()
            await mine.close()

        # When one moves between them, then whoever looks meanwhile finds a hundred
        moving = asyncio.create_task(move())
        while not over.is_set() and not moving.done():
            found = await store.read(refs)
            assert sum(int(one.body) for one in found if one) == 100
            await asyncio.sleep(0)
        await moving

    async def test_who_gives_up_in_the_middle_disturbs_nobody(self, store: RecordStore) -> None:
        records = [a_record() for _ in range(20)]
        writing = [asyncio.create_task(store.write(new(record))) for record in records]
        await asyncio.sleep(0)
        for task in writing[::2]:
            task.cancel()
        await asyncio.wait(writing)
        last = a_record("last")
        assert await store.write(new(last))
        found = await store.read([record.ref for record in records])
        assert all(one is not None for one in found[1::2])

    # places

    async def test_siblings_keep_one_store(self, store: RecordStore) -> None:
        record, other = a_record("a"), store.sibling()
        assert await other.write(new(record))
        assert await store.read([record.ref]) == [record]
        await other.close()

    async def test_namespaces_know_nothing_of_one_another(self, store: RecordStore) -> None:
        other = self.neighbour()
        if other is None:
            pytest.skip("there is no other namespace here")
        here, there = (
            a_record("a", body=body, created_at=T, unsent_since=T, until=T + 1) for body in (b"here", b"there")
        )
        assert await store.write(new(here))
        assert await other.write(new(there))
        assert await other.prune(T + 1) == 1
        assert await store.read([here.ref]) == [here]
        assert (await store.listed(Kind.JOB), await store.unsent(T, 9)) == ([here], [here])
        await other.close()

    async def test_a_server_that_is_away_is_told_of(self) -> None:
        store = self.unreachable()
        if store is None:
            pytest.skip("there is no server that could be away")
        record = a_record()
        for asked in (
            store.write(new(record)),
            store.read([record.ref]),
            store.listed(Kind.JOB),
            store.unsent(T, 9),
            store.prune(T),
        ):
            with pytest.raises(BackendUnavailable):
                await asked
        await store.close()

    async def test_a_closed_store_opens_again(self, store: RecordStore) -> None:
        assert await store.write(new(a_record("a")))
        await store.close()
        assert await store.write(new(a_record("b")))
