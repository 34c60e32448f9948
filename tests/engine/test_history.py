"""The shape of histories and work items, as every SDK's replay reads them."""

from __future__ import annotations

import asyncio

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError
from durableflow.protocol.actions import complete_orchestration, create_timer, schedule_task
from durableflow.protocol.status import Status
from durableflow.protocol.times import micros_of
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    END,
    FAILED,
    HOUR,
    PENDING,
    RUNNING,
    Client,
    ManualClock,
    Worker,
    kind,
    kinds,
    names,
    settle,
)

CONTINUED_AS_NEW = pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
MORE_THAN_A_PAGE = 1001


async def test_the_first_work_item_has_no_past_and_what_was_raised_meanwhile(
    engine: Engine, client: Client
) -> None:
    await client.start(id="a", input="1")
    await client.raise_event("a", "one")
    await client.raise_event("a", "two")

    async with Worker(engine) as worker:
        turn = await worker.turn()

    assert turn.past == []
    assert kinds(turn.new) == [
        "orchestratorStarted",
        "executionStarted",
        "eventRaised",
        "eventRaised",
    ]
    assert names(turn.new) == ["one", "two"]


async def test_an_instance_is_pending_until_its_first_turn_is_completed(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")

    turn = await worker.turn()
    before = await client.status("a")
    await turn.call("charge")

    assert (before, await client.status("a")) == (PENDING, RUNNING)


async def test_the_start_event_says_everything_that_the_caller_said(
    client: Client, worker: Worker
) -> None:
    await client.start("order", id="a", input="", version="2", tags={"team": "north"})

    turn = await worker.turn()

    started = turn.new[1].executionStarted
    assert (started.name, started.version.value) == ("order", "2")
    assert started.HasField("input")
    assert started.orchestrationInstance.instanceId == "a"
    assert started.orchestrationInstance.executionId.value == turn.execution
    assert dict(started.tags) == {"team": "north"}


async def test_absent_payloads_stay_absent(engine: Engine, client: Client) -> None:
    await client.start(id="a")
    await client.raise_event("a", "go")

    async with Worker(engine) as worker:
        turn = await worker.turn()

    assert not turn.new[1].executionStarted.HasField("input")
    assert not turn.new[2].eventRaised.HasField("input")


async def test_history_after_a_turn_is_past_new_confirmations_and_the_end_of_the_turn(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    first = await worker.turn()
    await first.complete(
        schedule_task(1, "charge", input='"x"', tags={"k": "v"}), create_timer(2, 10**15 * 9)
    )
    await (await worker.activity()).complete('"ok"')
    second = await worker.turn()

    assert kinds(second.past) == [
        "orchestratorStarted",
        "executionStarted",
        "taskScheduled",
        "timerCreated",
        "orchestratorCompleted",
    ]
    assert second.past[:2] == first.new
    assert [event.eventId for event in second.past] == [-1, -1, 1, 2, -1]
    assert second.past[2].taskScheduled.input.value == '"x"'
    assert dict(second.past[2].taskScheduled.tags) == {"k": "v"}
    assert kinds(second.new) == ["orchestratorStarted", "taskCompleted"]
    assert second.new[1].taskCompleted.taskScheduledId == 1
    assert second.new[1].taskCompleted.result.value == '"ok"'
    assert [event.eventId for event in second.new] == [-1, -1]

    await second.complete()
    await client.raise_event("a", "go")
    third = await worker.turn()

    assert third.past[: len(second.past) + 2] == second.past + second.new
    assert kind(third.past[-1]) == "orchestratorCompleted"


async def test_the_end_stands_last_after_the_end_of_its_turn(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).finish('"done"')

    history = await client.history("a")

    assert kinds(history) == [
        "orchestratorStarted",
        "executionStarted",
        "orchestratorCompleted",
        "executionCompleted",
    ]
    assert history[-1].executionCompleted.result.value == '"done"'
    assert history[-1].executionCompleted.orchestrationStatus == COMPLETED


async def test_a_failure_reaches_state_and_history_unchanged(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    action = complete_orchestration(END, FAILED)
    failure = action.completeOrchestration.failureDetails
    failure.errorType = "orders.Refused"
    failure.innerFailure.errorMessage = "no money"
    failure.properties["code"].number_value = 7
    await turn.complete(action)

    state = await client.state("a")

    assert state.orchestrationStatus == FAILED
    assert state.failureDetails == failure
    assert (await client.history("a"))[-1].executionCompleted.failureDetails == failure


async def test_a_failed_activity_with_an_empty_message_is_a_failure(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    await (await worker.activity()).fail("")

    turn = await worker.turn()

    assert kinds(turn.new) == ["orchestratorStarted", "taskFailed"]
    assert turn.new[1].taskFailed.taskScheduledId == 1


async def test_custom_status_is_cleared_by_a_turn_that_does_not_state_it(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete(custom_status='"half"')
    stated = (await client.state("a")).customStatus.value
    await client.raise_event("a", "go")
    await (await worker.turn()).complete()

    assert stated == '"half"'
    assert not (await client.state("a")).HasField("customStatus")


async def test_custom_status_may_be_empty_text(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete(custom_status="")

    state = await client.state("a")

    assert state.HasField("customStatus")


async def test_activities_scheduled_by_the_last_turn_still_run(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete(
        schedule_task(1, "farewell"), complete_orchestration(END, COMPLETED)
    )

    activity = await worker.activity("farewell")
    await activity.complete()

    assert await client.status("a") == COMPLETED
    assert kind((await client.history("a"))[-1]) == "executionCompleted"


async def test_a_retry_is_the_same_task_id_once_more(
    client: Client, worker: Worker, clock: ManualClock
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    await (await worker.activity()).fail("declined")
    turn = await worker.turn()
    await turn.complete(create_timer(2, micros_of(turn.new[0].timestamp)))
    await (await worker.turn()).call("charge")
    await (await worker.activity()).complete('"paid"')

    turn = await worker.turn()

    assert kinds(turn.past).count("taskScheduled") == 2
    assert turn.new[1].taskCompleted.taskScheduledId == 1
    assert turn.new[1].taskCompleted.result.value == '"paid"'


async def test_events_not_processed_come_again_before_newer_ones(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.suspend("a")
    for name in ("one", "two", "three"):
        await client.raise_event("a", name)
    await client.resume("a")
    turn = await worker.turn()
    assert kinds(turn.new)[:3] == ["orchestratorStarted", "executionSuspended", "eventRaised"]
    await client.raise_event("a", "four")

    await turn.complete(processed=3)
    again = await worker.turn()

    assert names(again.past) == ["one"]
    assert names(again.new) == ["two", "three", "four"]
    assert kinds(again.new)[0] == "orchestratorStarted"
    assert kinds(again.new).count("orchestratorStarted") == 1


async def test_events_not_processed_survive_a_restart(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    await client.start(id="a")
    await client.raise_event("a", "one")
    await client.raise_event("a", "two")
    async with Worker(engine) as worker:
        turn = await worker.turn()
        await turn.complete(processed=3)
        await settle(engine)
        await engine.close()

    async with Worker(await opened()) as worker:
        turn = await worker.turn()

    assert names(turn.past) == ["one"]
    assert names(turn.new) == ["two"]


async def test_time_is_the_same_on_every_later_replay(
    engine: Engine, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    first = await worker.turn()
    await first.complete()
    await client.raise_event("a", "go")
    second = await worker.turn()
    await second.complete()
    await client.raise_event("a", "go")

    third = await worker.turn()

    starts = [e for e in third.past if kind(e) == "orchestratorStarted"]
    assert starts == [first.new[0], second.new[0]]


async def test_a_history_stays_readable_in_chunks_and_for_one_execution_only(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    await turn.complete()
    await client.raise_event("a", "go")
    await (await worker.turn()).finish()

    whole = await client.history("a")
    mine = await client.history("a", execution_id=turn.execution)
    work = await client.history("a", for_work_item=True)

    assert whole == mine == work
    assert kinds(whole).count("orchestratorStarted") == 2


async def test_a_timer_far_away_keeps_the_instance_running_and_its_time_to_the_nanosecond(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    action = create_timer(1, micros_of(turn.new[0].timestamp) + HOUR)
    action.createTimer.fireAt.nanos += 7
    await turn.complete(action)
    await client.raise_event("a", "go")

    created = (await worker.turn()).past[2]

    assert created.timerCreated.fireAt == action.createTimer.fireAt


async def test_a_history_is_read_no_longer_than_asked(
    engine: Engine, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).finish()
    await client.completion("a")
    request = pb.StreamInstanceHistoryRequest(instanceId="a")

    with pytest.raises(CallError) as error:
        await anext(engine.stream_instance_history(request, timeout=0.0))

    assert error.value.status is Status.DEADLINE_EXCEEDED


@pytest.mark.parametrize("end", ["purge", "continue as new"])
@pytest.mark.parametrize("asked", ["this execution", "the current one"])
async def test_a_history_that_goes_away_while_it_is_read_is_not_cut_short(
    opened: OpenEngine, asked: str, end: str
) -> None:
    """A long one is read in pages.  What takes its place comes instead, if any may."""
    engine = await opened(None)
    client = Client(engine)
    async with Worker(engine, sessions=True) as worker:
        await client.start(id="a")
        for _ in range(MORE_THAN_A_PAGE):
            await (await worker.turn()).complete()
            await client.raise_event("a", "go")
        turn = await worker.turn()
        if end == "purge":
            await turn.finish()
        whole = await client.history("a")
        execution = turn.execution if asked == "this execution" else None
        reading = asyncio.create_task(client.history("a", execution_id=execution))
        await asyncio.sleep(0)

        if end == "purge":
            await client.purge("a")
        else:
            await turn.finish(status=CONTINUED_AS_NEW)

        if end == "continue as new" and asked == "the current one":
            assert await reading == []  # the next execution has made no turn yet
        else:
            with pytest.raises(CallError) as gone:
                await reading
            assert gone.value.status == Status.NOT_FOUND

    assert len(whole) > MORE_THAN_A_PAGE
