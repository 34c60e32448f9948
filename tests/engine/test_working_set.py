"""Instances come into memory when they are needed and leave it when they are idle."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.jobs import JobThread
from durableflow.engine.store import Store
from durableflow.engine.working_set import IDLE_COUNT, WorkingSet
from durableflow.errors import CallError
from durableflow.protocol.actions import create_timer
from durableflow.protocol.status import Status
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    HOUR,
    PENDING,
    RUNNING,
    TERMINATED,
    Client,
    ManualClock,
    Worker,
    kinds,
    names,
    settle,
)

ROOT = Path(__file__).parents[2]
MEGABYTES_17 = 17 * 1024 * 1024


async def reopened(engine: Engine, opened: OpenEngine, clock: ManualClock | None = None) -> Engine:
    await engine.close()
    return await opened(clock=clock)


# Memory


@pytest.mark.e2e
def test_idle_instances_leave_memory(file: Path) -> None:
    """Twelve hundred of 64 kB are 77 MB, of which a part stays for a while."""
    words = [sys.executable, "-m", "tests.engine.idle", str(file), "1200", "64000"]

    grown = int(subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout)

    assert grown < 50_000_000


async def test_instances_that_left_memory_come_back_for_everything(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    ids = [f"{n}" for n in range(1500)]
    async with Worker(engine, sessions=True) as worker:
        due = create_timer(1, clock.now() + HOUR)
        await asyncio.gather(*(client.start(id=one, input=one) for one in ids))
        turns = [await worker.turn() for _ in ids]
        await asyncio.gather(*(turn.complete(due, custom_status=turn.id) for turn in turns))

        await client.raise_event("0", "go")
        event = await worker.turn("0")
        await client.suspend("1")
        await client.terminate("2", '"stop"')
        state = await client.state("3")
        history = await client.history("4")
        clock.advance(HOUR)
        fired = {turn.id: turn for turn in [await worker.turn() for _ in range(len(ids) - 3)]}

    assert names(event.new) == ["go"]
    assert (state.input.value, state.customStatus.value) == ("3", "3")
    assert kinds(history)[2:] == ["timerCreated", "orchestratorCompleted"]
    assert set(fired) == set(ids) - {"0", "1", "2"}
    assert await client.status("2") == TERMINATED


@pytest.mark.parametrize("kept", ["input", "output"])
async def test_an_instance_larger_than_what_stays_in_memory_works(
    opened: OpenEngine, kept: str
) -> None:
    large = "x" * MEGABYTES_17
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a", input=large if kept == "input" else None)
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")
        await (await worker.turn()).finish(large if kept == "output" else None)
        warm = await client.state("a")
        await client.start(id="b", input=large)
    cold = Client(await reopened(engine, opened))

    assert warm.orchestrationStatus == COMPLETED
    assert len(getattr(warm, kept).value) == MEGABYTES_17
    assert len(getattr(await cold.state("a"), kept).value) == MEGABYTES_17
    states = await asyncio.gather(*(cold.status(one) for one in "abba"))
    assert states == [COMPLETED, PENDING, PENDING, COMPLETED]
    assert await cold.purge("a") == 1


async def test_large_payloads_pass_unchanged_through_everything(
    client: Client, worker: Worker
) -> None:
    large = "ä€𝄞" * 500_000
    await client.start(id="a", input=large)
    turn = await worker.turn()
    await turn.complete(custom_status=large)
    await client.raise_event("a", "data", large)
    turn = await worker.turn()
    assert turn.new[1].eventRaised.input.value == large
    await turn.call("charge")
    await (await worker.activity()).complete(large)
    turn = await worker.turn()
    assert turn.new[1].taskCompleted.result.value == large
    await turn.finish(large)

    state = await client.state("a")

    assert state.output.value == state.input.value == large


async def test_what_came_into_memory_for_a_while_leaves_it_afterwards(
    opened: OpenEngine, file: Path
) -> None:
    engine = await opened()
    ids = [f"{n}" for n in range(1200)]
    await asyncio.gather(*(Client(engine).start(id=one) for one in ids))
    await asyncio.gather(*(Client(engine).terminate(one) for one in ids))
    await engine.close()
    store = Store.open(file, synchronous="full")
    reader = store.reader()
    jobs = JobThread("test")
    loaded = WorkingSet(jobs, reader, barrier=lambda _: None)

    with loaded.holding():
        await asyncio.gather(*(loaded.load(one) for one in ids))
        during = len(loaded)
    await asyncio.sleep(0)
    after = len(loaded)
    await jobs.stop()
    reader.close()
    store.close()

    assert during == 1200
    assert after == IDLE_COUNT


# Loads at the same time


async def test_calls_that_load_an_instance_together_see_one_instance(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).complete()
    client = Client(await reopened(engine, opened))

    calls = [client.raise_event("a", f"{n}") for n in range(20)]
    await asyncio.gather(client.state("a"), *calls, client.state("a"), client.history("a"))

    async with Worker(client.hub) as worker:
        turn = await worker.turn()
    assert names(turn.new) == [f"{n}" for n in range(20)]


async def test_who_asks_just_when_an_instance_arrives_in_memory_sees_it(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    ids = [f"{n}" for n in range(20)]
    for one in ids:
        await Client(engine).start(id=one)
        await Client(engine).terminate(one)
    engine = await reopened(engine, opened)
    client = Client(engine)

    async def after(steps: int, one: str) -> bool:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await client.find(one) is not None

    for one in ids:
        assert all(await asyncio.gather(*(after(steps, one) for steps in range(150))))


async def test_a_timer_and_a_caller_that_load_an_instance_together_see_one_instance(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        for n in range(20):
            await Client(engine).start(id=f"{n}")
            turn = await worker.turn()
            await turn.complete(create_timer(1, clock.now() + HOUR))
    engine = await reopened(engine, opened, clock)
    client = Client(engine)

    clock.advance(HOUR)
    await asyncio.gather(*(client.raise_event(f"{n}", "go") for n in range(20)))
    await settle(engine)
    seen: dict[str, list[str]] = {f"{n}": [] for n in range(20)}
    async with Worker(engine) as worker:
        while not all(len(events) == 2 for events in seen.values()):
            turn = await worker.turn()
            seen[turn.id] += kinds(turn.new)[1:]
            await turn.complete()

    assert {tuple(sorted(events)) for events in seen.values()} == {("eventRaised", "timerFired")}


@pytest.mark.parametrize("order", ["purge first", "look first"])
@pytest.mark.parametrize("memory", ["warm", "cold"])
async def test_a_look_beside_a_purge_does_not_bring_the_instance_back(
    opened: OpenEngine, memory: str, order: str
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).finish()
    if memory == "cold":
        engine = await reopened(engine, opened)
    client = Client(engine)

    calls = [client.purge("a"), *(client.find("a") for _ in range(5))]
    if order == "look first":
        calls.reverse()
    await asyncio.gather(*calls)

    assert await client.find("a") is None
    assert await client.start(id="a") == "a"
    assert await client.status("a") == PENDING


async def test_an_absence_that_was_seen_lasts(
    opened: OpenEngine, engine: Engine, client: Client, worker: Worker
) -> None:
    """What a purge took away and somebody saw gone can be started again at once."""
    await client.start(id="a")
    await (await worker.turn()).finish()

    purging = asyncio.create_task(client.purge("a"))
    while await client.find("a") is not None:
        await asyncio.sleep(0)
    await client.start(id="a", input="2")
    await purging

    assert (await client.state("a")).input.value == "2"
    cold = Client(await reopened(engine, opened))
    assert (await cold.state("a")).input.value == "2"


async def test_purges_at_the_same_time_count_an_instance_once(
    opened: OpenEngine, engine: Engine, client: Client, worker: Worker
) -> None:
    for n in range(10):
        await client.start(id=f"{n}")
        await (await worker.turn()).finish()
    cold = Client(await reopened(engine, opened))

    counts = await asyncio.gather(*(cold.purge(f"{n}") for n in range(10) for _ in range(3)))

    assert sum(counts) == 10


async def test_replacing_beside_a_look_and_an_event_leaves_one_instance(
    opened: OpenEngine, engine: Engine, client: Client, worker: Worker
) -> None:
    await client.start(id="a", input="1")
    await (await worker.turn()).finish()
    cold = Client(await reopened(engine, opened))

    await asyncio.gather(
        cold.find("a"), cold.start(id="a", input="2", replace=[COMPLETED]), cold.find("a")
    )
    async with Worker(cold.hub) as again:
        turn = await again.turn()
        await turn.complete()
        await settle(cold.hub)
        assert again.waiting == []

    assert turn.new[1].executionStarted.input.value == "2"
    assert await cold.status("a") == RUNNING
    reply = await cold.hub.query_instances(pb.QueryInstancesRequest())
    assert [state.instanceId for state in reply.orchestrationState] == ["a"]


async def test_who_waits_for_an_instance_that_is_just_being_read_learns_that_the_engine_closes(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).complete()
    engine = await reopened(engine, opened)
    await settle(engine)

    waiting = asyncio.create_task(Client(engine).completion("a"))
    await asyncio.sleep(0)
    await engine.close()

    async with asyncio.timeout(10):
        with pytest.raises(CallError) as closed:
            await waiting
    assert closed.value.status is Status.UNAVAILABLE
