"""What every implementation of the ``TaskHub`` port owes its callers.

Each test runs in process, over gRPC, and through the file; and every request and reply is cleared
as soon as its call is over (see ``conftest``), so that nothing here works by sharing a message.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.port import TaskHub
from durableflow.protocol.actions import complete_orchestration, schedule_task
from durableflow.protocol.status import Status
from tests.engine.driver import (
    COMPLETED,
    DEADLINE_SECONDS,
    FAILED,
    HOUR,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    Client,
    Worker,
    kinds,
    names,
    only,
)


async def finished(client: Client, worker: Worker, instance_id: str, output: str = "1") -> None:
    """Bring an instance from its start to its end."""
    await client.start(id=instance_id)
    await (await worker.turn(instance_id)).finish(output)
    assert await client.completion(instance_id) == COMPLETED


def status_of(error: pytest.ExceptionInfo[CallError]) -> Status:
    return error.value.status


# Starting


async def test_hello_is_answered(hub: TaskHub) -> None:
    await hub.hello(timeout=DEADLINE_SECONDS)


async def test_a_start_without_an_id_gets_one(client: Client) -> None:
    first, second = await client.start(), await client.start()

    assert first
    assert first != second
    assert (await client.state(first)).instanceId == first


async def test_a_started_instance_is_pending_until_its_first_turn_is_complete(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn("a")

    assert await client.status("a") == PENDING
    await turn.complete()
    assert await client.status("a") == RUNNING


async def test_the_first_turn_brings_the_start_and_what_came_with_it(
    client: Client, worker: Worker
) -> None:
    await client.start("order", id="a", input='{"n":1}', version="2.0", tags={"team": "x"})
    await client.raise_event("a", "early", "5")

    turn = await worker.turn("a")

    assert turn.past == []
    assert kinds(turn.new)[:2] == ["orchestratorStarted", "executionStarted"]
    started = turn.new[1].executionStarted
    assert (started.name, started.input.value, started.version.value) == (
        "order",
        '{"n":1}',
        "2.0",
    )
    assert dict(started.tags) == {"team": "x"}


async def test_a_second_start_of_the_same_id_is_refused(client: Client) -> None:
    await client.start(id="a")

    with pytest.raises(CallError) as error:
        await client.start(id="a")

    assert status_of(error) is Status.ALREADY_EXISTS


async def test_a_finished_instance_is_not_replaced_without_a_policy(
    client: Client, worker: Worker
) -> None:
    await finished(client, worker, "a")

    with pytest.raises(CallError) as error:
        await client.start(id="a")

    assert status_of(error) is Status.ALREADY_EXISTS


async def test_a_policy_that_names_the_status_replaces_the_instance(
    client: Client, worker: Worker
) -> None:
    await finished(client, worker, "a")
    before = (await client.state("a")).executionId.value

    await client.start(id="a", replace=[COMPLETED])

    state = await client.state("a")
    assert state.orchestrationStatus == PENDING
    assert state.executionId.value != before


async def test_a_start_in_the_future_is_pending_and_not_dispatched(
    client: Client, worker: Worker
) -> None:
    await client.start(id="later", at=time.time_ns() // 1000 + HOUR)
    await client.start(id="now")
    await worker.turn("now")

    assert worker.waiting == []
    state = await client.state("later")
    assert state.orchestrationStatus == PENDING
    assert state.HasField("scheduledStartTimestamp")


async def test_an_absent_input_and_an_empty_one_stay_different(
    client: Client, worker: Worker
) -> None:
    await client.start(id="absent")
    await client.start(id="empty", input="")

    assert not (await client.state("absent")).HasField("input")
    assert (await client.state("empty")).HasField("input")


async def test_a_payload_larger_than_grpcs_own_limit_passes(client: Client, worker: Worker) -> None:
    payload = "ü" * 3_000_000

    await client.start(id="a", input=payload)

    turn = await worker.turn("a")
    assert turn.new[1].executionStarted.input.value == payload
    await turn.finish(payload)
    assert await client.completion("a") == COMPLETED
    assert (await client.state("a")).output.value == payload


# Looking


async def test_an_unknown_instance_is_absent_and_no_error(client: Client) -> None:
    assert await client.find("nobody") is None


async def test_inputs_and_outputs_are_left_out_unless_asked_for(
    hub: TaskHub, client: Client, worker: Worker
) -> None:
    await client.start(id="a", input="1")
    await (await worker.turn("a")).complete(
        complete_orchestration(9, COMPLETED, result="2"), custom_status="3"
    )
    await client.completion("a")

    state = (await hub.get_instance(pb.GetInstanceRequest(instanceId="a"))).orchestrationState

    assert not state.HasField("input")
    assert not state.HasField("output")
    assert state.customStatus.value == "3"


async def test_the_state_of_a_finished_instance_is_complete(client: Client, worker: Worker) -> None:
    await client.start("order", id="a", input="1", version="2", tags={"k": "v"})
    await (await worker.turn("a")).finish("2")
    await client.completion("a")

    state = await client.state("a")

    assert (state.name, state.version.value, dict(state.tags)) == ("order", "2", {"k": "v"})
    assert (state.input.value, state.output.value) == ("1", "2")
    assert state.executionId.value
    assert state.HasField("createdTimestamp")
    assert state.HasField("lastUpdatedTimestamp")
    assert state.HasField("completedTimestamp")
    assert not state.HasField("failureDetails")


# Waiting


async def test_waiting_for_the_start_ends_with_the_first_turn(
    hub: TaskHub, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    request = pb.GetInstanceRequest(instanceId="a")
    waiting = asyncio.create_task(hub.wait_for_instance_start(request, timeout=DEADLINE_SECONDS))

    await (await worker.turn("a")).complete()

    assert (await waiting).orchestrationState.orchestrationStatus == RUNNING


async def test_waiting_for_the_end_ends_with_the_last_turn(
    hub: TaskHub, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    request = pb.GetInstanceRequest(instanceId="a", getInputsAndOutputs=True)
    waiting = asyncio.create_task(
        hub.wait_for_instance_completion(request, timeout=DEADLINE_SECONDS)
    )

    await (await worker.turn("a")).finish('"done"')

    assert (await waiting).orchestrationState.output.value == '"done"'


@pytest.mark.parametrize("wait", ["wait_for_instance_start", "wait_for_instance_completion"])
async def test_a_wait_ends_at_the_callers_deadline(hub: TaskHub, client: Client, wait: str) -> None:
    await client.start(id="a")

    with pytest.raises(CallError) as error:
        await getattr(hub, wait)(pb.GetInstanceRequest(instanceId="a"), timeout=0.05)

    assert status_of(error) is Status.DEADLINE_EXCEEDED


# Events, suspend, resume, terminate


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("raise_event", pb.RaiseEventRequest),
        ("suspend_instance", pb.SuspendRequest),
        ("resume_instance", pb.ResumeRequest),
    ],
)
async def test_changing_an_unknown_instance_is_refused(
    hub: TaskHub, call: str, request_type: type[pb.SuspendRequest]
) -> None:
    with pytest.raises(CallError) as error:
        await getattr(hub, call)(request_type(instanceId="nobody"))

    assert status_of(error) is Status.NOT_FOUND
    assert "nobody" in str(error.value)


async def test_events_arrive_in_their_order(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    for name in ("one", "two", "three"):
        await client.raise_event("a", name, f'"{name}"')
    turn = await worker.turn("a")
    await turn.complete()
    arrived = names(turn.new)
    if len(arrived) < 3:
        arrived += names((await worker.turn("a")).new)

    assert arrived == ["one", "two", "three"]


async def test_an_event_for_a_finished_instance_is_accepted_and_dropped(
    client: Client, worker: Worker
) -> None:
    await finished(client, worker, "a")

    await client.raise_event("a", "late")

    assert await client.status("a") == COMPLETED


async def test_suspending_twice_is_suspending_once(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).complete()

    await client.suspend("a", "audit")
    await client.suspend("a", "audit")
    assert await client.status("a") == SUSPENDED
    await client.resume("a")

    assert kinds((await worker.turn("a")).new) == [
        "orchestratorStarted",
        "executionSuspended",
        "executionResumed",
    ]


async def test_terminating_keeps_the_output_as_it_was_given(client: Client) -> None:
    await client.start(id="a")

    await client.terminate("a", '{"because": "…"}')

    assert await client.completion("a") == TERMINATED
    assert (await client.state("a")).output.value == '{"because": "…"}'


async def test_terminating_an_unknown_instance_is_silent(client: Client) -> None:
    await client.terminate("nobody")


# Purge, query, history


async def test_a_finished_instance_can_be_purged_once(hub: TaskHub, client: Client) -> None:
    await client.start(id="a")
    await client.terminate("a")

    reply = await hub.purge_instances(pb.PurgeInstancesRequest(instanceId="a"))

    assert (reply.deletedInstanceCount, reply.isComplete.value) == (1, True)
    assert await client.find("a") is None
    assert await client.purge("a") == 0


async def test_a_living_instance_is_not_purged(client: Client) -> None:
    await client.start(id="a")

    assert await client.purge("a") == 0
    assert await client.find("a") is not None


async def test_pages_of_a_query_hold_each_instance_once(hub: TaskHub, client: Client) -> None:
    started = {await client.start(id=f"i{n}", input="7") for n in range(5)}
    query = pb.InstanceQuery(maxInstanceCount=2)
    found: list[str] = []
    tokens: set[str] = set()

    while True:
        page = await hub.query_instances(pb.QueryInstancesRequest(query=query))
        assert len(page.orchestrationState) <= 2
        assert not any(state.HasField("input") for state in page.orchestrationState)
        found += [state.instanceId for state in page.orchestrationState]
        token = page.continuationToken.value
        if not token:
            break
        assert token not in tokens | {"0"}
        tokens.add(token)
        query.continuationToken.value = token

    assert sorted(found) == sorted(started)


async def test_a_query_filters_by_status(hub: TaskHub, client: Client) -> None:
    await client.start(id="a")
    await client.start(id="b")
    await client.terminate("b")

    page = await hub.query_instances(
        pb.QueryInstancesRequest(query=pb.InstanceQuery(runtimeStatus=[TERMINATED]))
    )

    assert [state.instanceId for state in page.orchestrationState] == ["b"]


async def test_a_history_can_be_read_in_full(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).call("charge")
    await (await worker.activity("charge")).complete("1")
    await (await worker.turn("a")).finish("2")
    await client.completion("a")

    assert kinds(await client.history("a")) == [
        "orchestratorStarted",
        "executionStarted",
        "taskScheduled",
        "orchestratorCompleted",
        "orchestratorStarted",
        "taskCompleted",
        "orchestratorCompleted",
        "executionCompleted",
    ]


async def test_the_history_of_an_unknown_instance_is_refused(client: Client) -> None:
    with pytest.raises(CallError) as error:
        await client.history("nobody")

    assert status_of(error) is Status.NOT_FOUND


# Work items


async def test_an_activity_knows_what_it_needs_and_its_result_comes_back(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).complete(schedule_task(1, "charge", input="3", version="2"))

    activity = await worker.activity("charge")
    await activity.complete("4")

    request = activity.request
    assert (activity.id, request.taskId, request.input.value) == ("a", 1, "3")
    assert request.version.value == "2"
    turn = await worker.turn("a")
    assert kinds(turn.past) == [
        "orchestratorStarted",
        "executionStarted",
        "taskScheduled",
        "orchestratorCompleted",
    ]
    assert kinds(turn.new) == ["orchestratorStarted", "taskCompleted"]
    assert turn.new[1].taskCompleted.result.value == "4"


async def test_an_activity_fails_by_its_details_even_with_an_empty_message(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).call("charge")

    await (await worker.activity("charge")).fail("")

    assert kinds((await worker.turn("a")).new) == ["orchestratorStarted", "taskFailed"]


async def test_failing_keeps_the_details(hub: TaskHub, client: Client, worker: Worker) -> None:
    await client.start(id="a")
    turn = await worker.turn("a")
    action = complete_orchestration(9, FAILED)
    action.completeOrchestration.failureDetails.errorType = "builtins.ValueError"
    action.completeOrchestration.failureDetails.errorMessage = "no"

    await turn.complete(action)

    assert await client.completion("a") == FAILED
    assert (await client.state("a")).failureDetails.errorType == "builtins.ValueError"


async def test_a_completion_that_comes_twice_counts_once(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    turn = await worker.turn("a")
    await turn.call("charge")
    await turn.call("charge")
    activity = await worker.activity("charge")
    await activity.complete("1")
    await activity.complete("2")

    await (await worker.turn("a")).finish()

    assert await client.completion("a") == COMPLETED
    assert kinds(await client.history("a")).count("taskCompleted") == 1
    assert worker.waiting == []


async def test_an_abandoned_turn_comes_again_under_another_token(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn("a")

    await turn.abandon()

    again = await worker.turn("a")
    assert again.token != turn.token
    await again.finish()
    assert await client.completion("a") == COMPLETED


async def test_an_abandoned_activity_comes_again(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn("a")).call("charge")

    await (await worker.activity("charge")).abandon()

    await (await worker.activity("charge")).complete("1")
    assert kinds((await worker.turn("a")).new) == ["orchestratorStarted", "taskCompleted"]


async def test_the_reason_of_a_parked_turn_is_shown(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    turn = await worker.turn("a")

    await turn.abandon("nondeterminism", "event 7: «charge» → «refund»\nline 3")

    state = await client.state("a")
    assert "«charge» → «refund»\nline 3" in state.failureDetails.errorMessage


async def test_past_events_are_left_out_for_a_stream_that_holds_the_session(
    hub: TaskHub, client: Client
) -> None:
    async with Worker(hub, sessions=True) as worker:
        await client.start(id="a")
        first = await worker.turn("a")
        await first.call("charge")
        await (await worker.activity("charge")).complete("1")

        turn = await worker.turn("a")

        assert turn.past == []
        assert turn.position == f"4:{first.token}"
        assert len(await client.history("a", for_work_item=True)) == 4


async def test_a_stream_gets_what_its_filters_name(hub: TaskHub, client: Client) -> None:
    async with Worker(hub, filters=only("order")) as worker:
        await client.start("refund", id="other")
        await client.start("order", id="a")

        await (await worker.turn()).finish()

        assert await client.completion("a") == COMPLETED
        assert worker.waiting == []
        assert await client.status("other") == PENDING


async def test_cancelling_a_stream_ends_its_iteration_and_gives_its_work_back(
    hub: TaskHub, client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await worker.turn("a")

    await worker.leave()

    assert worker.ended_by is None
    async with Worker(hub, "another") as another:
        await (await another.turn("a")).finish()
    assert await client.completion("a") == COMPLETED


async def test_a_stream_that_is_cancelled_before_it_begins_is_empty(hub: TaskHub) -> None:
    stream = hub.get_work_items(pb.GetWorkItemsRequest())

    stream.cancel()

    assert [item async for item in stream] == []


# Closing


async def test_closing_ends_what_is_under_way(hub: TaskHub, client: Client) -> None:
    await client.start(id="a")
    request = pb.GetInstanceRequest(instanceId="a")
    waiting = asyncio.create_task(hub.wait_for_instance_completion(request))
    async with Worker(hub, filters=only("nothing")) as worker:
        with pytest.raises(CallError):
            await hub.wait_for_instance_completion(request, timeout=0.05)  # both are under way now

        await hub.close()

        stream_error = await worker.lost()
    with pytest.raises(CallError) as error:
        await waiting
    assert status_of(error) is Status.UNAVAILABLE
    assert stream_error is not None
    assert stream_error.status is Status.UNAVAILABLE


async def test_a_closed_hub_turns_calls_away(hub: TaskHub) -> None:
    await hub.close()
    await hub.close()

    with pytest.raises(CallError) as error:
        await hub.hello()

    assert status_of(error) is Status.UNAVAILABLE
