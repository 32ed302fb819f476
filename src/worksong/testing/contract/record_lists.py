"""Lists of records: in the order of their creation, stable while records come and go."""

from __future__ import annotations

import pytest

from worksong.ports.records import Change, Kind, RecordStore
from worksong.testing.contract.record_steps import a_record, all_of, changed, last_of, new
from worksong.testing.contract.steps import T


class Listed:
    pytestmark = pytest.mark.asyncio

    async def test_lists_are_in_the_order_of_creation_then_of_ids(self, store: RecordStore) -> None:
        # Given records of the same second, of the same fraction of it, and of none
        times = {"b": T, "a": T, "B": T, "ä": T, "later": T + 1e-6, "first": 0.0, "earlier": T - 1, "z": T}
        records = [a_record(one, created_at=at) for one, at in times.items()]
        assert await store.write(new(*records, a_record("other", Kind.KEY, created_at=T)))
        # Then pages of any size are parts of one and the same list
        for most in (1, 2, 3, 100):
            assert await all_of(store, most=most) == ["first", "earlier", "B", "a", "b", "z", "ä", "later"]

    async def test_many_of_one_instant_are_paged_too(self, store: RecordStore) -> None:
        records = [a_record(f"{number:04}", created_at=T) for number in range(1200)]
        assert await store.write(new(*records))
        assert await all_of(store, most=500) == [record.ref.id for record in records]

    async def test_a_list_of_one_status_follows_its_changes(self, store: RecordStore) -> None:
        records = [a_record(str(number), created_at=T + number, status=1) for number in range(6)]
        assert await store.write(new(*records))
        assert await store.write([changed(record, status=4) for record in records[::2]])
        assert await all_of(store, status=1, most=2) == ["1", "3", "5"]
        assert await all_of(store, status=4, most=2) == ["0", "2", "4"]
        assert await all_of(store, status=2) == []
        assert await all_of(store) == list("012345")

    async def test_pages_are_stable_while_records_come_and_go(self, store: RecordStore) -> None:
        # Given a first page of ten records
        records = [a_record(str(number), created_at=T + number, status=1) for number in range(10)]
        assert await store.write(new(*records))
        page = await store.listed(Kind.JOB, most=4)
        # When records before, on and behind it go, its last one too, and others come on both sides
        gone = [0, 1, 3, 5]
        assert await store.write([Change(records[number].ref, 1, None) for number in gone])
        assert await store.write(new(a_record("early", created_at=T - 1), a_record("late", created_at=T + 20)))
        assert await store.write([changed(records[4], status=5)])
        # Then the next pages have all that stayed behind it, once
        last = last_of(page)
        rest = await store.listed(Kind.JOB, after=last, most=3)
        rest += await store.listed(Kind.JOB, after=last_of(rest), most=100)
        assert [record.ref.id for record in rest] == ["4", "6", "7", "8", "9", "late"]
        behind = await store.listed(Kind.JOB, status=1, after=last)
        assert [record.ref.id for record in behind] == ["6", "7", "8", "9"]

    # what is unsent, and what may be forgotten

    async def test_what_is_missing_in_the_queue_is_found_by_its_time(self, store: RecordStore) -> None:
        records = [a_record(str(number), Kind.PIPELINE, unsent_since=T + 9 - number) for number in range(5)]
        job = a_record("job", unsent_since=T + 5.5)
        assert await store.write(new(*records, job, a_record("sent")))
        assert await store.unsent(T + 7, 9) == [records[4], job, records[3], records[2]]
        assert await store.unsent(T + 7, 2) == [records[4], job]
        assert await store.write([changed(records[4], unsent_since=T + 7.5), changed(job, unsent_since=0.0)])
        assert [record.ref.id for record in await store.unsent(T + 8, 9)] == ["3", "2", "4", "1"]

    async def test_what_was_kept_long_enough_is_forgotten(self, store: RecordStore) -> None:
        # Given records that may be forgotten at different times, and one that may never
        records = [a_record(f"{number:04}", created_at=T, status=1, until=T + number) for number in range(1100)]
        extended = records[0]
        stays = a_record("stays", created_at=T, unsent_since=T)
        assert await store.write(new(*records, stays))
        assert await store.write([changed(extended, until=0.0)])
        # When it is time for some of them
        gone = 0
        while dropped := await store.prune(T + 1050):
            gone += dropped
        # Then these are gone from everywhere
        assert gone == 1050
        left = [extended.ref.id, *(record.ref.id for record in records[1051:])]
        assert await all_of(store, most=100) == [*left, "stays"]
        assert await all_of(store, status=1, most=100) == left
        assert [record.ref.id for record in await store.unsent(T, 9)] == ["stays"]
        assert await store.read([records[1].ref]) == [None]
