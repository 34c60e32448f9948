"""Suspend, resume, terminate, purge, id reuse, scheduled starts: and their races with work."""

from __future__ import annotations

import asyncio

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.errors import CallError
from durableflow.protocol.actions import complete_orchestration, create_timer, schedule_task
from durableflow.protocol.status import Status
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    END,
    HOUR,
    PENDING,
    RUNNING,
    SUSPENDED,
    TERMINATED,
    Client,
    ManualClock,
    Worker,
    kind,
    kinds,
    names,
    settle,
)

# Suspend and resume


async def test_suspending_between_turns_holds_at_once(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()

    await client.suspend("a", "audit")

    assert await client.status("a") == SUSPENDED


async def test_events_are_held_while_suspended_and_come_in_one_batch_on_resume(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.suspend("a", "audit")
    await client.raise_event("a", "one")
    await client.raise_event("a", "two")
    await settle(engine)
    held = worker.waiting

    await client.resume("a")
    turn = await worker.turn()

    assert held == []
    assert kinds(turn.new) == [
        "orchestratorStarted",
        "executionSuspended",
        "eventRaised",
        "eventRaised",
        "executionResumed",
    ]
    assert turn.new[1].executionSuspended.input.value == "audit"
    assert names(turn.new) == ["one", "two"]
    assert await client.status("a") == RUNNING


async def test_suspending_in_the_middle_of_a_turn_holds_when_it_is_applied(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.raise_event("a", "go")
    turn = await worker.turn()

    await client.suspend("a")
    meanwhile = await client.status("a")
    await turn.call("charge")

    assert meanwhile == RUNNING
    assert await client.status("a") == SUSPENDED
    await (await worker.activity()).complete()
    await settle(engine)
    assert worker.waiting == []


async def test_an_activity_answered_while_suspended_waits_for_the_resume(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    await client.suspend("a")
    await (await worker.activity()).complete('"ok"')
    await settle(engine)
    held = worker.waiting

    await client.resume("a")
    turn = await worker.turn()

    assert held == []
    assert kinds(turn.new) == [
        "orchestratorStarted",
        "executionSuspended",
        "taskCompleted",
        "executionResumed",
    ]


async def test_suspending_twice_is_once(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()

    await client.suspend("a", "first")
    await client.suspend("a", "second")
    await client.resume("a")

    assert kinds((await worker.turn()).new) == [
        "orchestratorStarted",
        "executionSuspended",
        "executionResumed",
    ]


async def test_resuming_what_is_not_suspended_changes_nothing(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()

    await client.resume("a")
    await settle(engine)

    assert await client.status("a") == RUNNING
    assert worker.waiting == []


async def test_suspending_and_resuming_within_one_turn_leaves_it_running(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.raise_event("a", "go")
    turn = await worker.turn()

    await client.suspend("a")
    await client.raise_event("a", "meanwhile")
    await client.resume("a")
    await turn.complete()
    after = await worker.turn()

    assert await client.status("a") == RUNNING
    assert names(after.new) == ["meanwhile"]


async def test_a_turn_that_ends_the_instance_wins_over_a_suspension_during_it(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    turn = await worker.turn()

    await client.suspend("a")
    await turn.finish('"done"')

    state = await client.state("a")
    assert (state.orchestrationStatus, state.output.value) == (COMPLETED, '"done"')


async def test_suspend_and_resume_work_before_the_first_turn_and_without_a_worker(
    engine: Engine, client: Client
) -> None:
    await client.start(id="a")

    await client.suspend("a")
    suspended = await client.status("a")
    async with Worker(engine) as worker:
        await settle(engine)
        held = worker.waiting
        await client.resume("a")
        turn = await worker.turn()

    assert (suspended, held) == (SUSPENDED, [])
    assert kinds(turn.new) == [
        "orchestratorStarted",
        "executionStarted",
        "executionSuspended",
        "executionResumed",
    ]


async def test_an_instance_stays_suspended_over_a_restart(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete()
        await client.suspend("a", "audit")
        await client.raise_event("a", "one")
    await engine.close()

    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await settle(engine)
        held, status = worker.waiting, await client.status("a")
        await client.resume("a")
        turn = await worker.turn()

    assert (held, status) == ([], SUSPENDED)
    assert names(turn.new) == ["one"]
    assert turn.new[1].executionSuspended.input.value == "audit"


# Terminate


async def test_terminating_in_the_middle_of_a_turn_voids_its_answer(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    turn = await worker.turn()

    await client.terminate("a", "as is, {not json")
    await turn.complete(schedule_task(1, "charge"), complete_orchestration(END, COMPLETED))
    await settle(engine)

    state = await client.state("a")
    assert (state.orchestrationStatus, state.output.value) == (TERMINATED, "as is, {not json")
    assert worker.waiting == []
    assert "taskScheduled" not in kinds(await client.history("a"))


async def test_the_history_of_a_terminated_instance_says_so(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()

    await client.terminate("a", '"stop"')

    history = await client.history("a")
    assert kinds(history)[-2:] == ["orchestratorCompleted", "executionCompleted"]
    (terminated,) = [e.executionTerminated for e in history if kind(e) == "executionTerminated"]
    assert terminated.input.value == '"stop"'
    assert history[-1].executionCompleted.orchestrationStatus == TERMINATED


async def test_termination_drops_activities_that_still_queue(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine, "orchestrator", filters=orchestrators_only()) as worker:
        await client.start(id="a")
        await (await worker.turn()).call("charge", "pack")
        await client.terminate("a")

        async with Worker(engine, "late") as late:
            await settle(engine)
            assert late.waiting == []


def orchestrators_only() -> pb.WorkItemFilters:
    """Filters that take the orchestrator of these tests, and activities of a name without work."""
    return pb.WorkItemFilters(
        orchestrations=[pb.OrchestrationFilter(name="order")],
        activities=[pb.ActivityFilter(name="nothing")],
    )


async def test_termination_drops_timers(opened: OpenEngine, clock: ManualClock) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete(create_timer(1, clock.now() + HOUR))
        await client.terminate("a")
        before = await client.history("a")

        clock.advance(2 * HOUR)
        await settle(engine)

        assert worker.waiting == []
        assert await client.history("a") == before


async def test_an_activity_in_flight_may_answer_after_the_termination(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    activity = await worker.activity()
    await client.terminate("a", "1")
    before = await client.history("a")

    await activity.complete('"late"')

    assert await client.status("a") == TERMINATED
    assert await client.history("a") == before


async def test_terminating_what_is_suspended(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.suspend("a")
    await client.raise_event("a", "held")

    await client.terminate("a", "1")

    assert await client.status("a") == TERMINATED


async def test_terminating_what_nobody_started_to_run(client: Client) -> None:
    await client.start(id="a")

    await client.terminate("a", "1")

    state = await client.state("a")
    assert (state.orchestrationStatus, state.output.value) == (TERMINATED, "1")
    assert state.HasField("completedTimestamp")


async def test_terminating_again_changes_nothing(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).finish('"done"')
    before = await client.state("a"), await client.history("a")

    await client.terminate("a", '"stop"')
    await client.suspend("a")
    await client.resume("a")
    await client.raise_event("a", "late")

    assert (await client.state("a"), await client.history("a")) == before


async def test_termination_wakes_who_waits_for_the_end(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    waiting = [asyncio.ensure_future(client.completion("a")) for _ in range(20)]
    await settle(client.hub)

    await client.terminate("a")

    assert await asyncio.gather(*waiting) == [TERMINATED] * 20


async def test_termination_is_on_disk_for_the_next_engine(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).call("charge")
        await client.terminate("a", "1")
    await engine.close()

    engine = await opened()
    async with Worker(engine) as worker:
        await settle(engine)
        assert worker.waiting == []
    assert await Client(engine).status("a") == TERMINATED


# Parked instances


async def test_a_parked_instance_takes_events_and_can_be_terminated(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).abandon("nondeterminism", "event 3 differs")

    await client.raise_event("a", "go")
    status = await client.status("a")
    await client.terminate("a", "1")

    assert status in (PENDING, RUNNING)
    assert await client.status("a") == TERMINATED
    assert names(await client.history("a")) == ["go"]


async def test_a_parked_instance_can_be_suspended_and_resumed(
    engine: Engine, client: Client
) -> None:
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).abandon("no-version", "version 9 is not registered")

    await client.suspend("a")
    status = await client.status("a")
    await client.resume("a")
    async with Worker(engine, "another") as another:
        turn = await another.turn()

    assert status == SUSPENDED
    assert kinds(turn.new)[1:] == ["executionStarted", "executionSuspended", "executionResumed"]


# Id reuse


async def test_an_id_is_not_reused_without_a_policy_even_when_terminal(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).finish()

    with pytest.raises(CallError) as refused:
        await client.start(id="a")

    assert refused.value.status is Status.ALREADY_EXISTS


async def test_an_id_is_not_reused_in_a_status_that_the_policy_does_not_name(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a", input="1")
    await (await worker.turn()).complete()

    with pytest.raises(CallError) as refused:
        await client.start(id="a", input="2", replace=[COMPLETED, TERMINATED])

    assert refused.value.status is Status.ALREADY_EXISTS
    assert (await client.state("a")).input.value == "1"


async def test_a_finished_instance_is_replaced_and_its_history_is_gone(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a", input="1", tags={"old": "yes"})
    first = await worker.turn()
    await first.complete(custom_status='"old"')
    await client.raise_event("a", "old")
    await (await worker.turn()).finish('"old"')

    await client.start(id="a", input="2", replace=[COMPLETED])
    turn = await worker.turn()
    state = await client.state("a")

    assert turn.execution != first.execution
    assert turn.past == []
    assert kinds(turn.new) == ["orchestratorStarted", "executionStarted"]
    assert (state.orchestrationStatus, state.input.value) == (PENDING, "2")
    assert not state.HasField("output")
    assert not state.HasField("customStatus")
    assert not state.HasField("completedTimestamp")
    assert not state.tags


async def test_a_late_answer_of_an_activity_does_not_reach_the_replacement(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    old = await worker.activity()

    await client.start(id="a", replace=[RUNNING])
    await (await worker.turn()).call("charge")
    new = await worker.activity()
    await old.complete('"old"')
    await settle(engine)
    reached = worker.waiting
    await new.complete('"new"')
    turn = await worker.turn()

    assert reached == []
    assert [e.taskCompleted.result.value for e in turn.new[1:]] == ['"new"']


async def test_a_late_answer_of_an_activity_does_not_reach_the_replacement_after_a_restart(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).call("charge")
        old = await worker.activity()
        await client.start(id="a", replace=[RUNNING])
        await (await worker.turn()).call("charge")
        await worker.activity()
    await engine.close()

    engine = await opened()
    await engine.complete_activity_task(old.response())
    async with Worker(engine) as worker:
        new = await worker.activity()
        await new.complete('"new"')
        turn = await worker.turn()

    assert kinds(turn.new) == ["orchestratorStarted", "taskCompleted"]
    assert turn.new[1].taskCompleted.result.value == '"new"'


async def test_a_late_turn_does_not_reach_the_replacement(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    old = await worker.turn()

    await client.start(id="a", input="2", replace=[PENDING, RUNNING])
    await old.finish('"old"')
    new = await worker.turn()
    await new.finish('"new"')

    assert (await client.state("a")).output.value == '"new"'


async def test_old_timers_and_old_events_do_not_reach_the_replacement(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).complete(create_timer(1, clock.now() + HOUR))
        await client.suspend("a")
        await client.raise_event("a", "old")

        await client.start(id="a", replace=[SUSPENDED])
        turn = await worker.turn()
        await turn.complete()
        clock.advance(2 * HOUR)
        await settle(engine)

        assert kinds(turn.new) == ["orchestratorStarted", "executionStarted"]
        assert worker.waiting == []


async def test_replacing_a_suspended_instance_starts_one_that_is_not(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.suspend("a")

    await client.start(id="a", replace=[SUSPENDED])

    assert await client.status("a") == PENDING
    await (await worker.turn()).finish()
    assert await client.completion("a") == COMPLETED


async def test_replacing_a_parked_instance_starts_one_that_is_not(
    client: Client, worker: Worker
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete()
    await client.raise_event("a", "go")
    await (await worker.turn()).abandon("nondeterminism", "event 3 differs")

    await client.start(id="a", replace=[RUNNING])
    await (await worker.turn()).complete()

    assert not (await client.state("a")).HasField("failureDetails")


async def test_a_reused_id_keeps_the_replacement_over_a_restart(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a", input="1")
        await (await worker.turn()).finish('"old"')
        await client.start(id="a", input="2", replace=[COMPLETED])
    await engine.close()

    engine = await opened()
    state = await Client(engine).state("a")
    async with Worker(engine) as worker:
        turn = await worker.turn()

    assert (state.orchestrationStatus, state.input.value) == (PENDING, "2")
    assert turn.past == []
    assert turn.execution == state.executionId.value


async def test_of_many_starts_of_one_id_at_once_one_wins(client: Client, worker: Worker) -> None:
    starts = [client.start(id="a", input=str(n)) for n in range(20)]

    outcomes = await asyncio.gather(*starts, return_exceptions=True)

    refused = [error for error in outcomes if isinstance(error, CallError)]
    assert len(refused) == 19
    assert {error.status for error in refused} == {Status.ALREADY_EXISTS}
    assert (await client.state("a")).input.value == str(outcomes.index("a"))


async def test_a_start_that_is_sent_again_is_carried_out_once(
    engine: Engine, client: Client, worker: Worker
) -> None:
    def request(execution_id: str) -> pb.CreateInstanceRequest:
        made = pb.CreateInstanceRequest(name="order", instanceId="a")
        made.executionId.value = execution_id
        made.orchestrationIdReusePolicy.replaceableStatus.extend([PENDING, RUNNING, COMPLETED])
        return made

    await engine.start_instance(request("e1"))
    await (await worker.turn()).finish('"done"')
    await engine.start_instance(request("e1"))
    once = await client.state("a")
    await engine.start_instance(request("e2"))

    assert (once.orchestrationStatus, once.output.value) == (COMPLETED, '"done"')
    assert await client.status("a") == PENDING


async def test_starts_without_an_id_get_one_each(client: Client) -> None:
    ids = await asyncio.gather(*(client.start() for _ in range(20)))

    assert len(set(ids)) == 20
    assert all(len(instance_id) == 32 for instance_id in ids)


# Purge


async def test_a_live_instance_is_not_purged(client: Client, worker: Worker) -> None:
    await client.start(id="a")
    pending = await client.purge("a")
    turn = await worker.turn()
    await turn.complete()

    assert (pending, await client.purge("a"), await client.purge("nobody")) == (0, 0, 0)
    assert await client.status("a") == RUNNING


async def test_a_purged_id_is_free_and_a_late_answer_does_not_reach_its_next_owner(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    await (await worker.turn()).complete(
        schedule_task(1, "farewell"), complete_orchestration(END, COMPLETED)
    )
    late = await worker.activity()

    purged = await client.purge("a")
    gone = await client.find("a")
    await client.start(id="a")
    await (await worker.turn()).call("charge")
    await worker.activity("charge")
    await late.complete()
    await settle(engine)

    assert (purged, gone) == (1, None)
    assert worker.waiting == []


async def test_a_late_answer_does_not_reach_what_took_the_place_of_a_purged_instance(
    opened: OpenEngine,
) -> None:
    """After the restart the newcomer may lie where the purged instance lay."""
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a")
        await (await worker.turn()).call("charge")
        late = await worker.activity()
        await client.terminate("a")
        await client.purge("a")
    await engine.close()

    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="a")
        await (await worker.turn()).call("charge")
        await worker.activity()
        await engine.complete_activity_task(late.response())
        await settle(engine)

        assert worker.waiting == []


async def test_a_purge_outlasts_a_restart(opened: OpenEngine) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        for instance_id in ("a", "b"):
            await client.start(id=instance_id)
            await (await worker.turn()).finish()
        await client.purge("a")
    await engine.close()

    client = Client(await opened())

    assert await client.find("a") is None
    assert await client.status("b") == COMPLETED


# Scheduled starts


async def test_a_scheduled_start_waits_for_its_time_and_outlasts_a_restart(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    await Client(engine).start(id="a", at=clock.now() + HOUR)
    async with Worker(engine) as worker:
        await settle(engine)
        early = worker.waiting
    await engine.close()

    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        clock.advance(HOUR - 1)
        await settle(engine)
        just_before = worker.waiting, await client.status("a")
        clock.advance(1)
        turn = await worker.turn()

    assert (early, just_before) == ([], ([], PENDING))
    assert turn.id == "a"
    assert turn.new[1].executionStarted.HasField("scheduledStartTimestamp")
    assert (await client.state("a")).HasField("scheduledStartTimestamp")


async def test_a_start_that_came_due_while_nothing_ran_starts_at_once(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    await Client(engine).start(id="a", at=clock.now() + HOUR)
    await engine.close()
    clock.advance(2 * HOUR)

    async with Worker(await opened(clock=clock)) as worker:
        assert (await worker.turn()).id == "a"


async def test_events_do_not_start_a_scheduled_instance_early(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a", at=clock.now() + HOUR)
        await client.raise_event("a", "early")
        await settle(engine)
        early = worker.waiting
        clock.advance(HOUR)
        turn = await worker.turn()

    assert early == []
    assert kinds(turn.new) == ["orchestratorStarted", "executionStarted", "eventRaised"]


async def test_a_scheduled_instance_that_is_terminated_never_starts(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a", at=clock.now() + HOUR)
        await client.terminate("a")
        clock.advance(2 * HOUR)
        await settle(engine)

        assert worker.waiting == []
    assert await client.status("a") == TERMINATED


async def test_a_scheduled_instance_that_is_replaced_starts_once(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="a", at=clock.now() + HOUR)
        await client.start(id="a", replace=[PENDING], input="2")
        turn = await worker.turn()
        await turn.complete()
        clock.advance(2 * HOUR)
        await settle(engine)

        assert turn.new[1].executionStarted.input.value == "2"
        assert worker.waiting == []


# Answers


async def test_a_stale_or_unknown_token_is_answered_and_ignored(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    await turn.call("charge")
    activity = await worker.activity()
    await activity.complete('"first"')
    second = await worker.turn()

    await activity.complete('"second"')
    await turn.finish('"again"')
    await engine.complete_orchestrator_task(
        pb.OrchestratorResponse(instanceId="a", completionToken="no such token")
    )
    await engine.complete_activity_task(
        pb.ActivityResponse(instanceId="a", taskId=1, completionToken="no such token")
    )
    await second.finish(second.new[1].taskCompleted.result.value)

    assert (await client.state("a")).output.value == '"first"'
    assert kinds(await client.history("a")).count("taskCompleted") == 1


async def test_a_response_in_parts_is_refused_and_can_be_given_whole(
    client: Client, worker: Worker, engine: Engine
) -> None:
    await client.start(id="a")
    turn = await worker.turn()
    response = turn.response()
    response.isPartial = True

    with pytest.raises(CallError) as refused:
        await engine.complete_orchestrator_task(response)
    await turn.finish()

    assert refused.value.status is Status.INVALID_ARGUMENT
    assert await client.status("a") == COMPLETED


# Waiting for the start


@pytest.mark.parametrize("ends", [False, True])
async def test_who_waits_for_the_start_hears_of_a_suspension_and_of_an_end_without_one(
    engine: Engine, client: Client, ends: bool
) -> None:
    await client.start(id="a")
    if ends:
        await client.suspend("a")
        await client.resume("a")
    request = pb.GetInstanceRequest(instanceId="a")
    waiting = asyncio.create_task(engine.wait_for_instance_start(request, timeout=5))
    await settle(engine)

    await (client.terminate("a") if ends else client.suspend("a"))

    status = (await waiting).orchestrationState.orchestrationStatus
    assert status == (TERMINATED if ends else SUSPENDED)
