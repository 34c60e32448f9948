"""Past events are left out only for the stream whose answer was the last one applied."""

from __future__ import annotations

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.protocol.actions import schedule_task
from tests.engine.conftest import OpenEngine
from tests.engine.driver import Client, LoopTime, Turn, Worker, kinds, names, settle


def counted(turn: Turn) -> tuple[int, str]:
    """What a request says of the history that it leaves out: its length, and the last token."""
    assert turn.position is not None
    count, _, token = turn.position.partition(":")
    return int(count), token


def has_history(turn: Turn) -> bool:
    return kinds(turn.past)[:2] == ["orchestratorStarted", "executionStarted"]


async def test_a_stream_without_sessions_always_gets_the_history(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, streaming=True) as worker:
        await client.start(id="a")
        for _ in range(3):
            await (await worker.turn()).complete()
            await client.raise_event("a", "go")

        turn = await worker.turn()

    assert has_history(turn)
    assert not turn.request.requiresHistoryStreaming


async def test_the_stream_that_answered_last_gets_new_events_only_and_the_position(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        first = await worker.turn()
        await first.call("charge")
        await (await worker.activity()).complete()
        second = await worker.turn()
        stored = await client.history("a")
        await second.complete(custom_status="1")
        await client.raise_event("a", "go")
        third = await worker.turn()

    assert first.past == []
    assert counted(first) == (0, "")
    assert second.past == []
    assert kinds(second.new) == ["orchestratorStarted", "taskCompleted"]
    assert counted(second) == (len(stored), first.token)
    assert third.past == []
    assert counted(third) == (len(stored) + len(second.new) + 1, second.token)


async def test_the_history_can_be_asked_for_in_the_middle_of_a_turn(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        first = await worker.turn()
        await first.call("charge")
        await (await worker.activity()).complete()
        turn = await worker.turn()
        await client.raise_event("a", "meanwhile")

        past = await client.history("a", execution_id=turn.execution, for_work_item=True)

    assert len(past) == counted(turn)[0]
    assert past[:2] == first.new
    assert "taskCompleted" not in kinds(past)
    assert "eventRaised" not in kinds(past)


async def test_another_stream_gets_the_history(engine: Engine, client: Client) -> None:
    async with Worker(engine, "one", sessions=True) as one:
        await client.start(id="a")
        await (await one.turn()).complete()
    await client.raise_event("a", "go")

    async with Worker(engine, "two", sessions=True) as two:
        turn = await two.turn()
        await turn.complete()
        await client.raise_event("a", "go")
        after = await two.turn()

    assert has_history(turn)
    assert after.past == []
    assert counted(after)[1] == turn.token


async def test_a_worker_that_reconnects_gets_the_history(engine: Engine, client: Client) -> None:
    async with Worker(engine, "same", sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
    await client.raise_event("a", "go")

    async with Worker(engine, "same", sessions=True) as worker:
        assert has_history(await worker.turn())


async def test_a_stream_whose_session_was_overtaken_gets_the_history(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "one", sessions=True, turns=1) as one:
        await client.start(id="a")
        await (await one.turn("a")).complete()
        await client.start(id="busy")
        busy = await one.turn("busy")
        async with Worker(engine, "two", sessions=True) as two:
            await client.raise_event("a", "go")
            overtaken = await two.turn("a")
            await overtaken.complete()
        await busy.complete()

        await client.raise_event("a", "back")
        turn = await one.turn("a")

    assert has_history(overtaken)
    assert has_history(turn)
    assert names(turn.past) == ["go"]


async def test_an_answer_that_came_too_late_makes_no_session(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "one", sessions=True, turns=2) as one:
        await client.start(id="a")
        lost = await one.turn()
    async with Worker(engine, "two", sessions=True) as two:
        current = await two.turn()
        await lost.complete(schedule_task(1, "never"))
        await current.complete()
        await client.raise_event("a", "go")
        turn = await two.turn()

    assert turn.past == []
    assert counted(turn) == (3, current.token)


async def test_after_a_restart_everybody_gets_the_history(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")
        await worker.turn()
    await engine.close()

    engine = await opened()
    async with Worker(engine, sessions=True) as worker:
        turn = await worker.turn()

    assert has_history(turn)
    assert names(turn.new) == ["go"]


async def test_a_worker_without_the_session_gets_the_turn_again_with_the_history(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")
        bare = await worker.turn()

        await bare.ask_for_history()
        full = await worker.turn()
        await bare.finish('"stale"')
        await full.finish('"right"')

    assert has_history(full)
    assert names(full.new) == ["go"]
    assert full.token != bare.token
    assert (await client.state("a")).output.value == '"right"'


async def test_asking_for_the_history_carries_out_nothing_and_delays_nothing(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete(custom_status='"kept"')
        await client.raise_event("a", "go")
        for _ in range(10):
            turn = await worker.turn()
            response = turn.response(schedule_task(1, "never"))
            response.requiresHistory = True
            await engine.complete_orchestrator_task(response)
        await settle(engine)

        assert worker.waiting == ["a"]
        state = await client.state("a")
        assert state.customStatus.value == '"kept"'
        assert not state.HasField("failureDetails")


async def test_an_abandoned_turn_comes_back_at_the_same_position_or_with_the_history(
    engine: Engine, client: Client, loop_time: LoopTime
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")
        first = await worker.turn()
        await first.abandon()
        await loop_time.advance(1.5)
        again = await worker.turn()

    assert names(again.new) == ["go"]
    assert has_history(again) or again.position == first.position


async def test_the_position_counts_only_events_that_were_processed(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.suspend("a")
        await client.raise_event("a", "one")
        await client.raise_event("a", "two")
        await client.resume("a")
        turn = await worker.turn()
        await turn.complete(processed=3)
        again = await worker.turn()
        stored = await client.history("a", for_work_item=True)

    assert names(again.new) == ["two"]
    assert len(stored) == len(turn.past) + 3 + 3 + 1
    assert has_history(again) or counted(again) == (len(stored), turn.token)


async def test_a_new_execution_of_an_id_starts_from_nothing(engine: Engine, client: Client) -> None:
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        old = await worker.turn()
        await old.finish()
        await client.start(id="a", replace=[1])
        new = await worker.turn()
        await old.complete()
        await new.complete()
        await client.raise_event("a", "go")
        second = await worker.turn()

    assert counted(new) == (0, "")
    assert new.execution != old.execution
    assert counted(second) == (3, new.token)


async def test_a_history_too_large_for_a_message_is_streamed_to_those_who_can(
    engine: Engine, client: Client
) -> None:
    megabyte = "x" * 1_000_000
    async with Worker(engine, "feeder") as worker:
        await client.start(id="a")
        for _ in range(6):
            await client.raise_event("a", "data", megabyte)
            await (await worker.turn()).complete()
    await client.raise_event("a", "go")

    async with Worker(engine, "reader", streaming=True) as worker:
        streamed = await worker.turn()
        history = await client.history("a", for_work_item=True)
    async with Worker(engine, "reader") as worker:
        sent = await worker.turn()

    assert streamed.request.requiresHistoryStreaming
    assert streamed.past == []
    assert not sent.request.requiresHistoryStreaming
    assert sent.past == history
    assert len(names(history)) == 5


async def test_a_small_history_is_not_streamed(engine: Engine, client: Client) -> None:
    async with Worker(engine, streaming=True) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.raise_event("a", "go")

        turn = await worker.turn()

    assert not turn.request.requiresHistoryStreaming
    assert has_history(turn)


async def test_streamed_histories_come_in_messages_that_every_receiver_takes(
    engine: Engine, client: Client
) -> None:
    await client.start(id="a")
    for _ in range(12):
        await client.raise_event("a", "data", "x" * 500_000)
    async with Worker(engine) as worker:
        turn = await worker.turn()
        await turn.complete()

    request = pb.StreamInstanceHistoryRequest(instanceId="a")
    messages = [message async for message in engine.stream_instance_history(request)]

    assert max(message.ByteSize() for message in messages) < 4 * 1024 * 1024
    assert [event for message in messages for event in message.events][:-1] == turn.new
