from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, StorageUnusableError
from durableflow.hub.backoff import Backoff
from durableflow.hub.options import HubOptions
from durableflow.hub.remote import RemoteTaskHub
from durableflow.protocol.status import Status
from durableflow.worker.stream import WorkItemLoop
from tests.unit.hub.scripted import ScriptedEngine
from tests.unit.worker.hub import ScriptedHub, ScriptedStream, activity_item

PING = pb.WorkItem(healthPing=pb.HealthPing())


class Bench:
    def __init__(
        self,
        *,
        silence_seconds: float = 60,
        calm_seconds: float = 60,
        first_seconds: float = 0.0,
    ) -> None:
        self.hub = ScriptedHub()
        self.opened = 0
        self.lost = 0
        self.unusable: list[str] = []
        self.lost_one = asyncio.Event()
        self.received: asyncio.Queue[pb.WorkItem] = asyncio.Queue()
        self.loop = WorkItemLoop(
            self.hub,
            request=pb.GetWorkItemsRequest,
            metadata=(("name", "value"),),
            on_item=self.receive,
            on_opened=self.open,
            on_lost=self.lose,
            on_unusable=self.unusable.append,
            silence_seconds=silence_seconds,
            calm_seconds=calm_seconds,
            backoff=Backoff(first_seconds=first_seconds, limit_seconds=first_seconds),
        )

    def receive(self, item: pb.WorkItem) -> None:
        if item.activityRequest.name == "poison":
            raise ValueError("cannot be taken on")
        self.received.put_nowait(item)

    def open(self) -> None:
        self.opened += 1

    def lose(self) -> None:
        self.lost += 1
        self.lost_one.set()

    async def streams(self, count: int) -> None:
        await self.hub.until(lambda: len(self.hub.streams) >= count)

    async def next_name(self) -> str:
        async with asyncio.timeout(20):
            return (await self.received.get()).activityRequest.name


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.loop.stop()


async def test_a_hub_that_will_never_be_usable_again_is_given_up(bench: Bench) -> None:
    bench.loop.start()
    await bench.streams(1)

    bench.hub.streams[0].fail_with(StorageUnusableError("the file was replaced"))
    await bench.lost_one.wait()
    await bench.loop.stop()

    assert bench.unusable == ["the file was replaced"]
    assert len(bench.hub.streams) == 1


async def test_items_are_handed_out_in_order(bench: Bench) -> None:
    bench.loop.start()
    await bench.streams(1)

    for name in ("a", "b", "c"):
        bench.hub.streams[0].push(activity_item(name))

    assert [await bench.next_name() for _ in range(3)] == ["a", "b", "c"]
    assert bench.hub.metadata == (("name", "value"),)


@pytest.mark.parametrize(
    "status",
    [Status.UNAVAILABLE, Status.CANCELLED, Status.INTERNAL, Status.UNAUTHENTICATED],
)
async def test_a_stream_that_ends_is_opened_again(bench: Bench, status: Status) -> None:
    bench.loop.start()

    for round_ in range(1, 4):
        await bench.streams(round_)
        bench.hub.streams[-1].fail(status)
    await bench.streams(4)
    bench.hub.streams[-1].push(activity_item("after"))

    assert await bench.next_name() == "after"
    assert bench.lost == 3


async def test_an_engine_that_does_not_answer_is_asked_again(bench: Bench) -> None:
    bench.hub.failures["hello"] = [Status.UNAVAILABLE] * 5

    bench.loop.start()

    await bench.streams(1)
    assert not bench.hub.failures["hello"]


async def test_readiness_follows_the_stream() -> None:
    bench = Bench(first_seconds=3600)
    assert bench.loop.problem

    bench.loop.start()
    await bench.loop.wait_ready()
    assert bench.loop.problem is None
    bench.hub.streams[0].push(activity_item("one"))
    await bench.next_name()
    bench.hub.streams[0].fail(Status.UNAVAILABLE)
    async with asyncio.timeout(20):
        await bench.lost_one.wait()

    assert bench.loop.problem
    await bench.loop.stop()


async def test_stopping_ends_the_stream_for_good(bench: Bench) -> None:
    bench.loop.start()
    await bench.streams(1)

    await bench.loop.stop()

    assert bench.hub.streams[0].cancelled
    assert bench.loop.problem
    assert len(bench.hub.streams) == 1
    assert bench.lost == 1


async def test_stopping_does_not_wait_for_the_next_attempt() -> None:
    bench = Bench(first_seconds=3600)
    bench.hub.failures["hello"] = [Status.UNAVAILABLE]
    bench.loop.start()
    await bench.hub.until(lambda: not bench.hub.failures["hello"])

    async with asyncio.timeout(20):
        await bench.loop.stop()

    assert not bench.hub.streams


async def test_an_item_that_cannot_be_taken_on_does_not_cost_the_stream(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.loop.start()
    await bench.streams(1)

    bench.hub.streams[0].push(activity_item("poison"))
    bench.hub.streams[0].push(activity_item("sound"))

    assert await bench.next_name() == "sound"
    assert len(bench.hub.streams) == 1
    assert "cannot be taken on" in caplog.text


async def test_a_stream_that_falls_silent_after_a_ping_is_opened_again() -> None:
    bench = Bench(silence_seconds=0.05)
    bench.loop.start()
    await bench.streams(1)

    bench.hub.streams[0].push(PING)

    await bench.streams(2)
    assert bench.hub.streams[0].cancelled
    await bench.loop.stop()


async def test_an_engine_that_never_pings_may_be_silent() -> None:
    bench = Bench(silence_seconds=0.0)
    bench.loop.start()
    await bench.streams(1)

    bench.hub.streams[0].push(activity_item("only"))
    await bench.next_name()
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, due.set)
    await due.wait()

    assert bench.loop.problem is None
    assert len(bench.hub.streams) == 1
    await bench.loop.stop()


async def test_each_stream_that_opens_is_told(bench: Bench) -> None:
    bench.loop.start()
    await bench.streams(1)

    bench.hub.streams[-1].fail(Status.UNAVAILABLE)
    await bench.streams(2)

    assert bench.opened == 2


# An item that is larger than what is accepted


def break_by_size(stream: ScriptedStream) -> None:
    text = "CLIENT: Received message larger than max (200000 vs. 65536)"
    stream.fail_with(CallError(Status.RESOURCE_EXHAUSTED, text))


async def test_an_item_that_is_too_large_is_told_with_what_to_raise_while_others_come(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.loop.start()
    for round_ in range(1, 3):
        await bench.streams(round_)
        bench.hub.streams[-1].push(activity_item("small"))
        break_by_size(bench.hub.streams[-1])
        await bench.next_name()
    await bench.streams(3)
    await bench.loop.wait_ready()

    problem = bench.loop.problem

    assert problem is not None
    for words in ("200000 vs. 65536", "Raise max_message_bytes"):
        assert words in problem
        assert words in caplog.text
    # What comes in between is no recovery, and shortens no wait.
    assert "come from scripted://hub again" not in caplog.text


async def test_a_stream_that_lasts_is_well_again() -> None:
    bench = Bench(calm_seconds=0.0)
    bench.loop.start()
    await bench.streams(1)
    break_by_size(bench.hub.streams[0])

    await bench.streams(2)
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, due.set)
    await due.wait()

    assert bench.loop.problem is None
    await bench.loop.stop()


async def test_what_grpc_says_of_an_item_that_is_too_large_is_understood() -> None:
    lost = asyncio.Event()
    async with ScriptedEngine() as engine:
        engine.answers["GetWorkItems"] = activity_item("large", input="x" * 200_000)
        options = HubOptions(role="worker", max_message_bytes=65_536)
        hub = RemoteTaskHub(engine.target, options=options)
        await hub.open()
        loop = WorkItemLoop(
            hub,
            request=pb.GetWorkItemsRequest,
            metadata=(),
            on_item=lambda item: None,
            on_opened=lambda: None,
            on_lost=lost.set,
            on_unusable=lambda reason: None,
        )
        loop.start()
        async with asyncio.timeout(20):
            await lost.wait()
        problem = loop.problem
        await loop.stop()
        await hub.close()

    assert problem is not None
    assert "vs. 65536" in problem
    assert "Raise max_message_bytes" in problem


async def test_a_task_hub_that_does_not_let_go_holds_up_the_end_only_so_long(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def hello(*, timeout: float | None = None) -> None:
        asked.set()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    monkeypatch.setattr(bench.hub, "hello", hello)
    bench.loop.start()
    await asked.wait()
    async with asyncio.timeout(20):
        await bench.loop.stop()

    assert "durableflow-work-items" in caplog.text
    released.set()
