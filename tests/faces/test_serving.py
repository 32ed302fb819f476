"""The order in which a service begins and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from worksong import Worker
from worksong.faces.cli.serving import Serving

GRACE = 5.0


class Diary:
    """What happened, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def note(self, what: str) -> None:
        self.entries.append(what)


class Face:
    """Takes requests, as far as anybody can see."""

    where = "face://here"

    def __init__(self, diary: Diary, name: str, failure: Exception | None = None) -> None:
        self._diary, self._name, self._failure = diary, name, failure
        self.gives_up = asyncio.Event()

    async def start(self) -> None:
        self._diary.note(f"{self._name} starts")
        if self._failure and not self.gives_up.is_set():
            raise self._failure

    async def ended(self) -> None:
        await self.gives_up.wait()
        raise RuntimeError(f"{self._name} gave up")

    async def stop(self) -> None:
        self._diary.note(f"{self._name} stops")


class Service:
    """The use-cases, of which nobody asks any."""

    def __init__(self, diary: Diary, failure: Exception | None = None) -> None:
        self._diary, self._failure = diary, failure

    async def start(self) -> None:
        self._diary.note("service starts")

    async def stop(self) -> None:
        self._diary.note("service stops")
        if self._failure:
            raise self._failure


class Crew(Worker):
    """A worker that keeps a diary."""

    def __init__(self, diary: Diary) -> None:
        super().__init__("memory://")
        self.diary = diary

    async def astart(self, *, burst: bool = False) -> None:
        self.diary.note("worker starts")
        await super().astart(burst=burst)

    async def astop(self, grace: float = GRACE) -> None:
        await super().astop(grace)
        self.diary.note(f"worker stopped, grace {grace:g}")


def serving(diary: Diary, *faces: Face, works: bool = True) -> Serving:
    return Serving(Crew(diary), Service(diary), faces, works=works, grace=GRACE)


async def test_requests_are_taken_only_while_all_behind_them_stands() -> None:
    diary = Diary()
    # Given a service that is told to stop as soon as it says that it is ready
    await told_to_stop(diary, serving(diary, Face(diary, "http"), Face(diary, "grpc")))
    # Then whatever takes requests was the last to begin and the first to end
    assert diary.entries == [
        "worker starts",
        "service starts",
        "http starts",
        "grpc starts",
        "ready",
        "http stops",
        "grpc stops",
        "service stops",
        "worker stopped, grace 5",
    ]


async def told_to_stop(diary: Diary, service: Serving) -> None:
    def ready() -> None:
        diary.note("ready")
        service.stop()

    await service.run(ready)


async def test_a_service_without_a_worker_closes_its_stores_all_the_same() -> None:
    diary = Diary()
    await told_to_stop(diary, serving(diary, Face(diary, "http"), works=False))
    assert "worker starts" not in diary.entries
    assert diary.entries[-1] == "worker stopped, grace 5"


async def test_when_one_face_gives_up_all_end() -> None:
    diary = Diary()
    http, grpc = Face(diary, "http"), Face(diary, "grpc")
    with pytest.raises(RuntimeError, match="grpc gave up"):
        await serving(diary, http, grpc).run(grpc.gives_up.set)
    assert diary.entries[-4:] == ["http stops", "grpc stops", "service stops", "worker stopped, grace 5"]


async def test_when_one_face_cannot_begin_the_others_end() -> None:
    diary = Diary()
    faces = Face(diary, "http"), Face(diary, "grpc", failure=OSError("address in use"))
    with pytest.raises(OSError, match="address in use"):
        await serving(diary, *faces).run(lambda: diary.note("ready"))
    assert "ready" not in diary.entries
    assert diary.entries[-3:] == ["grpc stops", "service stops", "worker stopped, grace 5"]


async def test_a_server_that_dismisses_the_worker_ends_the_service() -> None:
    diary = Diary()
    crew = Crew(diary)

    def dismiss() -> None:
        crew.on_dismissed()

    await Serving(crew, Service(diary), [Face(diary, "http")], works=True, grace=GRACE).run(dismiss)
    assert diary.entries[-1] == "worker stopped, grace 5"


async def test_an_app_that_listens_hears_of_the_dismissal_as_well() -> None:
    diary = Diary()
    crew = Crew(diary)
    crew.on_dismissed = lambda: diary.note("app hears")

    def dismiss() -> None:
        crew.on_dismissed()

    await Serving(crew, Service(diary), [Face(diary, "http")], works=True, grace=GRACE).run(dismiss)
    assert "app hears" in diary.entries


async def test_a_stop_is_heard_while_it_starts() -> None:
    # Given a service whose worker does not come to a start, as when its server is away
    diary = Diary()
    crew, started = StuckCrew(diary), asyncio.Event()
    crew.tries = started.set
    service = Serving(crew, Service(diary), [Face(diary, "http")], works=True, grace=GRACE)
    running = asyncio.ensure_future(service.run(lambda: diary.note("ready")))
    await started.wait()
    # When it is told to stop, then it does
    service.stop()
    async with asyncio.timeout(60):
        await running
    assert diary.entries == ["worker starts", "service stops", "worker stopped, grace 5"]


class StuckCrew(Crew):
    """One that is still at its start."""

    tries: Callable[[], None]

    async def astart(self, *, burst: bool = False) -> None:
        self.diary.note("worker starts")
        self.tries()
        await asyncio.Event().wait()


async def test_a_service_that_fails_at_its_end_leaves_no_worker_behind() -> None:
    diary = Diary()
    service = Serving(Crew(diary), Service(diary, OSError("away")), [Face(diary, "http")], works=True, grace=GRACE)
    with pytest.raises(OSError, match="away"):
        await told_to_stop(diary, service)
    assert diary.entries[-1] == "worker stopped, grace 5"
