"""Timers: never early, late by thirty seconds at most, whatever the clock does."""

from __future__ import annotations

import asyncio

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.protocol.actions import create_timer
from durableflow.protocol.times import micros_of
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Client,
    LoopTime,
    ManualClock,
    Worker,
    kinds,
    settle,
)


async def waiting_for(client: Client, worker: Worker, *fire_at: int, id: str = "a") -> None:
    """Start an instance that waits for timers, numbered from 1."""
    await client.start(id=id)
    turn = await worker.turn(id)
    await turn.complete(*(create_timer(n, at) for n, at in enumerate(fire_at, 1)))


async def test_a_timer_fires_at_its_time_and_not_a_microsecond_before(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        due = clock.now() + HOUR
        await waiting_for(Client(engine), worker, due)

        clock.advance(HOUR - 1)
        await settle(engine)
        early = worker.waiting
        clock.advance(1)
        turn = await worker.turn()

    assert early == []
    assert kinds(turn.new) == ["orchestratorStarted", "timerFired"]
    assert turn.new[1].timerFired.timerId == 1
    assert turn.new[1].timerFired.fireAt == turn.past[2].timerCreated.fireAt
    assert micros_of(turn.new[1].timerFired.fireAt) == due
    assert micros_of(turn.new[0].timestamp) == due


async def test_timers_that_are_due_already_fire_at_once(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await waiting_for(Client(engine), worker, clock.now() - DAY, clock.now(), 0)

        fired = set[int]()
        while fired != {1, 2, 3}:
            turn = await worker.turn()
            fired |= {e.timerFired.timerId for e in turn.new if e.HasField("timerFired")}
            await turn.complete()


async def test_a_clock_set_back_delays_timers_and_time_never_goes_back_within_an_instance(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await waiting_for(client, worker, clock.now() + MINUTE)
        clock.advance(-DAY)
        await client.raise_event("a", "go")
        turn = await worker.turn()
        await turn.complete()
        clock.advance(DAY + MINUTE)
        fired = await worker.turn()

    assert micros_of(turn.new[0].timestamp) >= micros_of(turn.past[0].timestamp)
    assert micros_of(fired.new[0].timestamp) >= micros_of(fired.past[-2].timestamp)
    assert kinds(fired.new) == ["orchestratorStarted", "timerFired"]


async def test_time_does_not_go_back_over_a_restart(opened: OpenEngine, clock: ManualClock) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        first = await worker.turn()
        await first.complete()
    await engine.close()
    clock.advance(-DAY)

    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await Client(engine).raise_event("a", "go")
        turn = await worker.turn()

    assert micros_of(turn.new[0].timestamp) >= micros_of(first.new[0].timestamp)


async def test_a_jump_that_nobody_announces_is_seen_within_thirty_seconds(
    opened: OpenEngine, loop_time: LoopTime
) -> None:
    clock = ManualClock(announces=False)
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await waiting_for(Client(engine), worker, clock.now() + DAY)

        clock.advance(2 * DAY)
        await loop_time.advance(31)

        assert kinds((await worker.turn()).new)[1:] == ["timerFired"]


async def test_looking_at_the_clock_does_not_fire_a_timer_early(
    opened: OpenEngine, loop_time: LoopTime
) -> None:
    clock = ManualClock(announces=False)
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await waiting_for(Client(engine), worker, clock.now() + 20 * SECOND)

        for _ in range(4):
            await loop_time.advance(31)
        await settle(engine)
        early = worker.waiting
        clock.advance(20 * SECOND)
        await loop_time.advance(31)
        turn = await worker.turn()

    assert early == []
    assert kinds(turn.new)[1:] == ["timerFired"]


async def test_timers_fire_in_the_order_of_their_times(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    async with Worker(engine, turns=1) as worker:
        now = clock.now()
        for minutes in (3, 1, 2):
            await waiting_for(Client(engine), worker, now + minutes * MINUTE, id=f"{minutes}")

        order = []
        for _ in range(3):
            clock.advance(MINUTE)
            turn = await worker.turn()
            order.append(turn.id)
            await turn.complete()

    assert order == ["1", "2", "3"]


async def test_a_burst_of_timers_fires_completely_while_others_go_on(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        turn = await worker.turn()
        due = clock.now() + HOUR
        await turn.complete(*(create_timer(n, due) for n in range(1, 3001)))

        clock.advance(HOUR)
        fired: list[int] = []
        await settle(engine)
        while len(fired) < 3000:
            turn = await worker.turn("a")
            fired += [e.timerFired.timerId for e in turn.new if e.HasField("timerFired")]
            await turn.complete()

    assert sorted(fired) == list(range(1, 3001))


async def test_timers_of_many_instances_at_once_each_fire_once(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        due = clock.now() + HOUR
        await asyncio.gather(*(waiting_for(client, worker, due, id=f"{n}") for n in range(200)))

        clock.advance(HOUR)
        turns = [await worker.turn() for _ in range(200)]
        for turn in turns:
            await turn.complete()
        await settle(engine)

    assert {turn.id for turn in turns} == {f"{n}" for n in range(200)}
    assert worker.waiting == []


async def test_timers_over_any_span_fire_each_at_its_time(
    opened: OpenEngine, clock: ManualClock
) -> None:
    """Nearer timers created after further ones, from a second to a century."""
    engine = await opened(clock=clock)
    spans = [100 * 365 * DAY, 365 * DAY, 30 * DAY, 2 * DAY, DAY, HOUR, MINUTE, SECOND]
    async with Worker(engine) as worker:
        start = clock.now()
        due = [start + span + n for span in spans for n in range(100)]
        await waiting_for(Client(engine), worker, *due)

        fired: list[int] = []
        for span in reversed(spans):
            clock.advance(start + span + 100 - clock.now())
            expected = len(fired) + 100
            while len(fired) < expected:
                turn = await worker.turn()
                fired += [e.timerFired.timerId for e in turn.new if e.HasField("timerFired")]
                await turn.complete()
            await settle(engine)
            assert worker.waiting == []

    assert sorted(fired) == list(range(1, 801))


async def test_timers_that_do_not_fit_into_memory_fire_too(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        far, near = clock.now() + DAY, clock.now() + HOUR
        await waiting_for(client, worker, *(far + n for n in range(100)), id="far")
        await waiting_for(client, worker, *(near + n for n in range(21_000)), id="near")
        await client.terminate("near")

        clock.advance(2 * DAY)
        fired: list[int] = []
        while len(fired) < 100:
            turn = await worker.turn("far")
            fired += [e.timerFired.timerId for e in turn.new if e.HasField("timerFired")]
            await turn.complete()

    assert sorted(fired) == list(range(1, 101))


async def test_a_timer_set_while_the_engine_still_reads_others_fires(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        far = clock.now() + DAY
        await waiting_for(client, worker, *(far + n for n in range(9000)), id="far")
    await client.start(id="near")
    await engine.close()

    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await (await worker.turn("near")).complete(create_timer(1, clock.now() + MINUTE))
        clock.advance(MINUTE)
        fired = await worker.turn("near")

    assert kinds(fired.new)[1:] == ["timerFired"]


async def test_timers_outlast_a_restart_and_fire_once(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        await waiting_for(Client(engine), worker, clock.now() + HOUR, clock.now() + DAY)
    await engine.close()
    clock.advance(HOUR)

    engine = await opened(clock=clock)
    async with Worker(engine) as worker:
        first = await worker.turn()
        await first.complete()
        await settle(engine)
        after_first = worker.waiting
        clock.advance(DAY)
        second = await worker.turn()

    assert [e.timerFired.timerId for e in first.new[1:]] == [1]
    assert after_first == []
    assert [e.timerFired.timerId for e in second.new[1:]] == [2]


async def test_timers_of_a_finished_instance_do_not_fire(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await waiting_for(client, worker, clock.now() + HOUR)
        await client.raise_event("a", "go")
        await (await worker.turn()).finish()
        before = await client.history("a")

        clock.advance(DAY)
        await settle(engine)

        assert worker.waiting == []
        assert await client.history("a") == before


async def test_a_turn_delivered_again_has_a_new_time(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    await client.start(id="a")
    async with Worker(engine, "first") as worker:
        lost = await worker.turn()
    clock.advance(MINUTE)

    async with Worker(engine, "second") as worker:
        again = await worker.turn()
        await lost.finish('"lost"')
        await again.call("charge")
        history = await client.history("a")

    assert again.token != lost.token
    assert micros_of(again.new[0].timestamp) == micros_of(lost.new[0].timestamp) + MINUTE
    assert history[0] == again.new[0]
    assert kinds(history).count("orchestratorStarted") == 1


async def test_timers_of_suspended_instances_fire_when_they_are_resumed(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await waiting_for(client, worker, clock.now() + HOUR)
        await client.suspend("a")
        clock.advance(2 * HOUR)
        await settle(engine)
        held = worker.waiting
        await client.resume("a")
        turn = await worker.turn()

    assert held == []
    assert kinds(turn.new)[1:] == ["executionSuspended", "timerFired", "executionResumed"]


async def test_on_the_clock_of_the_machine_a_timer_fires_by_itself(
    engine: Engine, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    due = micros_of(turn.new[0].timestamp) + 50_000
    await turn.complete(create_timer(1, due))

    fired = await worker.turn()

    assert micros_of(fired.new[0].timestamp) >= due


@pytest.mark.parametrize("seconds", [2**62, -(2**62)])
async def test_times_that_are_in_no_calendar_do_not_disturb_the_hub(
    engine: Engine, client: Client, worker: Worker, seconds: int
) -> None:
    before = engine.incarnation
    never = pb.CreateInstanceRequest(name="order", instanceId="a")
    never.scheduledStartTimestamp.seconds = seconds
    await engine.start_instance(never)
    timer = pb.OrchestratorAction(id=1)
    timer.createTimer.fireAt.seconds = seconds
    await client.start(id="b")
    await (await worker.turn("b")).complete(timer)
    query = pb.QueryInstancesRequest()
    query.query.createdTimeFrom.seconds = seconds

    shown = (await engine.query_instances(query)).orchestrationState

    assert {state.instanceId for state in shown} == (set() if seconds > 0 else {"a", "b"})
    assert engine.incarnation == before


async def test_a_clock_does_not_keep_an_engine_that_is_closed(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    while_open = clock.listeners

    await engine.close()

    assert (while_open, clock.listeners) == (1, 0)
