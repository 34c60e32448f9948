"""What was acknowledged or shown is on disk, and a crash at any moment takes nothing of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError
from durableflow.protocol.actions import create_timer, schedule_task
from durableflow.protocol.status import Status
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    HOUR,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    Client,
    ManualClock,
    Worker,
    commits,
    crashed,
    kinds,
    names,
    settle,
)

Crash = Callable[[], Awaitable[Engine]]


@pytest.fixture
def crash(file: Path, tmp_path: Path, opened: OpenEngine) -> Crash:
    """``await crash()`` opens what a crash at this very moment would leave."""
    numbers = itertools.count()

    def now() -> Awaitable[Engine]:
        return opened(crashed(file, tmp_path / f"crash {next(numbers)}"))

    return now


# The barrier


async def test_every_acknowledged_call_is_on_disk(
    client: Client, engine: Engine, worker: Worker, crash: Crash
) -> None:
    await client.start(id="a", input="1", tags={"team": "north"})
    left = Client(await crash())
    state = await left.state("a")
    assert (state.orchestrationStatus, state.input.value) == (PENDING, "1")
    assert dict(state.tags) == {"team": "north"}

    turn = await worker.turn()
    await turn.complete(schedule_task(1, "charge"), custom_status='"half"')
    left = Client(await crash())
    state = await left.state("a")
    assert (state.orchestrationStatus, state.customStatus.value) == (RUNNING, '"half"')
    assert "taskScheduled" in kinds(await left.history("a"))

    await (await worker.activity()).complete('"ok"')
    async with Worker(await crash()) as other:
        assert kinds((await other.turn()).new)[1:] == ["taskCompleted"]

    await client.suspend("a")
    left = Client(await crash())
    assert await left.status("a") in (RUNNING, SUSPENDED)
    await (await worker.turn()).complete()
    left = Client(await crash())
    assert await left.status("a") == SUSPENDED

    await client.raise_event("a", "go")
    left = Client(await crash())
    await left.resume("a")
    async with Worker(left.hub) as other:
        assert names((await other.turn()).new) == ["go"]

    await client.terminate("a", '"stop"')
    left = Client(await crash())
    state = await left.state("a")
    assert (state.orchestrationStatus, state.output.value) == (TERMINATED, '"stop"')

    await client.purge("a")
    left = Client(await crash())
    assert await left.find("a") is None


async def test_a_state_that_was_read_is_on_disk_already(
    client: Client, engine: Engine, crash: Crash
) -> None:
    """Reads that overtake the caller who makes the change."""
    for n in range(5):
        starting = asyncio.create_task(client.start(id=f"{n}"))
        while (await client.find(f"{n}")) is None:
            assert not starting.done()
        left = await crash()
        assert await Client(left).status(f"{n}") == PENDING
        await starting


async def test_a_query_shows_only_what_is_on_disk(
    client: Client, engine: Engine, crash: Crash
) -> None:
    request = pb.QueryInstancesRequest()
    starting = [asyncio.create_task(client.start(id=f"{n}")) for n in range(50)]
    shown: list[str] = []
    while not shown:
        reply = await engine.query_instances(request)
        shown = [state.instanceId for state in reply.orchestrationState]

    left = Client(await crash())

    assert all([await left.find(instance_id) for instance_id in shown])
    await asyncio.gather(*starting)


async def test_a_wait_ends_only_when_the_end_is_on_disk(
    client: Client, worker: Worker, crash: Crash
) -> None:
    await client.start(id="a")
    waiting = asyncio.create_task(client.completion("a"))
    turn = await worker.turn()

    finishing = asyncio.create_task(turn.finish('"done"'))
    await waiting
    left = await crash()

    assert await Client(left).status("a") == COMPLETED
    await finishing


async def test_a_history_that_was_read_is_on_disk_already(
    client: Client, worker: Worker, crash: Crash
) -> None:
    await client.start(id="a")
    turn = await worker.turn()

    completing = asyncio.create_task(turn.call("charge"))
    shown = await client.history("a")
    left = Client(await crash())

    assert (await left.history("a"))[: len(shown)] == shown
    await completing


async def test_activities_are_handed_out_only_once_they_are_on_disk(
    client: Client, worker: Worker, crash: Crash
) -> None:
    await client.start(id="a")
    for step in range(5):
        turn = await worker.turn()
        completing = asyncio.create_task(turn.call("charge", first_id=step + 1))
        activity = await worker.activity()
        left = Client(await crash())
        assert kinds(await left.history("a")).count("taskScheduled") == step + 1
        await completing
        await activity.complete()


# Commits


async def run_chain(client: Client, worker: Worker, steps: int) -> None:
    """Answer without waiting for the answer to be taken, as workers do."""
    answers = []
    await client.start(id="chain")
    for step in range(steps):
        turn = await worker.turn()
        answers.append(asyncio.create_task(turn.call("charge", first_id=step + 1)))
        activity = await worker.activity()
        answers.append(asyncio.create_task(activity.complete('"ok"')))
    answers.append(asyncio.create_task((await worker.turn()).finish()))
    await asyncio.gather(*answers)


async def test_a_sequential_step_costs_one_commit(opened: OpenEngine, tmp_path: Path) -> None:
    steps, costs = 40, []
    for attempt in range(3):  # a machine that stalls for 2 ms may separate a pair
        file = tmp_path / f"{attempt}.db"
        engine = await opened(file)
        async with Worker(engine, sessions=True) as worker:
            before = commits(file)
            await run_chain(Client(engine), worker, steps)
            costs.append((commits(file) - before) / steps)

    assert min(costs) <= 1.3
    assert min(costs) >= 0.9  # each step's activity was on disk before it was handed out


async def test_what_happens_at_once_is_committed_together(
    client: Client, engine: Engine, file: Path
) -> None:
    before = commits(file)

    await asyncio.gather(*(client.start() for _ in range(500)))

    assert commits(file) - before <= 100


async def test_an_answer_waits_no_longer_than_the_pairing_takes(
    client: Client, worker: Worker, engine: Engine
) -> None:
    """A worker that does not answer the turn does not hold up who answered the activity."""
    async with Worker(engine, "sessions", sessions=True, filters=None) as other:
        await worker.leave()
        await client.start(id="a")
        await (await other.turn()).call("charge", "pack")
        activities = [await other.activity(), await other.activity()]

        await activities[0].complete()
        await other.turn()
        await activities[1].complete()


# Crashes


async def test_after_a_crash_the_answer_of_an_activity_still_counts_and_that_of_a_turn_does_not(
    client: Client, worker: Worker, engine: Engine, crash: Crash
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    activity = await worker.activity()
    await client.raise_event("a", "go")
    turn = await worker.turn()

    left = await crash()
    await left.complete_orchestrator_task(turn.response(schedule_task(2, "never")))
    await left.complete_activity_task(activity.response())

    async with Worker(left) as other:
        again = await other.turn()
    assert sorted(kinds(again.new)) == ["eventRaised", "orchestratorStarted", "taskCompleted"]
    assert "never" not in [e.taskScheduled.name for e in again.past]


async def test_after_a_crash_outstanding_activities_and_turns_are_handed_out_again(
    client: Client, worker: Worker, engine: Engine, crash: Crash
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge", "pack")
    charge = await worker.activity("charge")
    await client.start(id="b")
    await worker.turn("b")

    async with Worker(await crash()) as other:
        again = await other.activity("charge")
        await again.complete()
        await (await other.activity("pack")).complete()
        await (await other.turn("b")).finish()

    assert again.request == charge.request


async def test_timers_outlast_a_crash(
    opened: OpenEngine, file: Path, tmp_path: Path, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete(create_timer(1, clock.now() + HOUR))
        await client.start(id="later", at=clock.now() + HOUR)
    left = await opened(crashed(file, tmp_path / "crash"), clock=clock)

    clock.advance(HOUR)
    async with Worker(left) as other:
        fired = await other.turn("a")
        await other.turn("later")

    assert kinds(fired.new)[1:] == ["timerFired"]


async def test_a_crash_while_many_things_happen_leaves_every_instance_whole(
    client: Client, engine: Engine, file: Path, tmp_path: Path, opened: OpenEngine
) -> None:
    """Copies taken between commits of a busy hub, each opened and run to the end."""
    async with busy(engine):
        starting = [asyncio.create_task(client.start(id=f"{n}")) for n in range(60)]
        copies: list[tuple[Path, int]] = []
        for taken in range(4):
            await client.completion(f"{taken * 15}")
            acknowledged = sum(start.done() for start in starting)
            copies.append((crashed(file, tmp_path / f"{taken}"), acknowledged))
        await asyncio.gather(*(client.completion(f"{n}") for n in range(60)))

    for copy, acknowledged in copies:
        left = await opened(copy)
        async with busy(left):
            found = [n for n in range(60) if await Client(left).find(f"{n}") is not None]
            assert len(found) >= acknowledged
            for n in found:
                assert await Client(left).completion(f"{n}") == COMPLETED
                history = kinds(await Client(left).history(f"{n}"))
                assert history.count("taskScheduled") == history.count("taskCompleted") == 3
                assert history.count("executionStarted") == 1
                assert history.count("executionCompleted") == 1
        await left.close()


@asynccontextmanager
async def busy(engine: Engine) -> AsyncIterator[None]:
    """Run orchestrations of three activities, one after another, as they come."""
    async with Worker(engine, "busy") as worker:

        async def turns() -> None:
            while True:
                turn = await worker.turn()
                done = kinds(turn.past + turn.new).count("taskCompleted")
                if done == 3:
                    await turn.finish()
                else:
                    await turn.call("charge", first_id=done + 1)

        async def activities() -> None:
            while True:
                await (await worker.activity()).complete()

        running = [asyncio.create_task(turns()), asyncio.create_task(activities())]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def test_the_hub_keeps_its_id_and_changes_its_incarnation(
    engine: Engine, crash: Crash, opened: OpenEngine
) -> None:
    await Client(engine).start(id="a")
    first = engine.hub_id, engine.incarnation
    left = await crash()
    second = left.hub_id, left.incarnation
    await engine.close()
    again = await opened()

    assert first[0] == second[0] == again.hub_id
    assert len({first[1], second[1], again.incarnation}) == 3


async def test_two_hubs_have_different_ids(opened: OpenEngine, tmp_path: Path) -> None:
    hubs = [
        await opened(tmp_path / "one.db"),
        await opened(tmp_path / "two.db"),
        await opened(None),
    ]

    assert len({hub.hub_id for hub in hubs}) == 3


async def test_a_hub_in_memory_does_what_one_on_a_file_does(opened: OpenEngine) -> None:
    engine = await opened(None)
    client = Client(engine)
    async with Worker(engine, sessions=True) as worker:
        await run_chain(client, worker, 3)
        await settle(engine)

    assert await client.status("chain") == COMPLETED
    assert kinds(await client.history("chain")).count("taskCompleted") == 3


async def test_a_completion_is_waited_for_no_longer_than_asked_and_counts_all_the_same(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        turn = await worker.turn("a")
        call = turn.response(schedule_task(1, "charge"))
        with pytest.raises(CallError) as of_turn:
            await engine.complete_orchestrator_task(call, timeout=0.0)
        activity = await worker.activity("charge")
        with pytest.raises(CallError) as of_activity:
            await engine.complete_activity_task(activity.response(), timeout=0.0)

        await (await worker.turn("a")).finish()

    assert await Client(engine).completion("a") == COMPLETED
    for error in (of_turn, of_activity):
        assert error.value.status is Status.DEADLINE_EXCEEDED
