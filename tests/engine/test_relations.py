"""What instances do to one another: children, sent events, generations, terminations."""

from __future__ import annotations

import asyncio

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol import actions
from tests.engine.conftest import OpenEngine
from tests.engine.driver import (
    COMPLETED,
    END,
    FAILED,
    PENDING,
    RUNNING,
    SECOND,
    SUSPENDED,
    TERMINATED,
    Client,
    ManualClock,
    Worker,
    kinds,
)

END_WELL = actions.complete_orchestration(END, COMPLETED)


def child(action_id: int, instance_id: str) -> pb.OrchestratorAction:
    return actions.create_sub_orchestration(
        action_id, "child", instance_id, version="2.0.0", input='"in"', tags={"team": "a"}
    )


def send(action_id: int, target: str) -> pb.OrchestratorAction:
    return actions.send_event(action_id, target, "news", data="1")


def failed() -> pb.OrchestratorAction:
    action = actions.complete_orchestration(END, FAILED)
    action.completeOrchestration.failureDetails.errorMessage = "boom"
    return action


def continued(input: str = '"again"', *carried: pb.HistoryEvent) -> pb.OrchestratorAction:
    return actions.continue_as_new(END, input, carryover=carried)


async def test_a_child_knows_its_parent_and_its_result_reaches_it(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "p:0001"))
    first = await worker.turn("p:0001")
    await first.finish('"result"')
    second = await worker.turn("p")

    started = first.new[1].executionStarted
    assert started.parentInstance.orchestrationInstance.instanceId == "p"
    assert started.parentInstance.taskScheduledId == 1
    assert started.parentInstance.name.value == "parent"
    assert started.version.value == "2.0.0"
    assert dict(started.tags) == {"team": "a"}
    assert kinds(second.new) == ["orchestratorStarted", "subOrchestrationInstanceCompleted"]
    completed = second.new[1].subOrchestrationInstanceCompleted
    assert (completed.taskScheduledId, completed.result.value) == (1, '"result"')
    assert (await client.state("p:0001")).parentInstanceId.value == "p"


async def test_a_failed_child_answers_with_its_failure(client: Client, worker: Worker) -> None:
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).complete(failed())
    answer = (await worker.turn("p")).new[1]

    assert answer.subOrchestrationInstanceFailed.failureDetails.errorMessage == "boom"


async def test_a_terminated_child_counts_as_failed(client: Client, worker: Worker) -> None:
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    await worker.turn("c")
    await client.terminate("c")
    answer = (await worker.turn("p")).new[1]

    assert answer.WhichOneof("eventType") == "subOrchestrationInstanceFailed"


async def test_a_child_replaces_a_terminal_instance_of_its_id(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="c")
    await (await worker.turn("c")).finish('"old"')
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).finish('"new"')

    assert (await client.state("c")).output.value == '"new"'


async def test_a_child_whose_id_belongs_to_a_live_instance_fails(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="c")
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    answer = (await worker.turn("p")).new[1]

    assert answer.subOrchestrationInstanceFailed.taskScheduledId == 1
    assert (await client.state("c")).name == "parent"


async def test_a_retried_child_runs_again_under_the_same_id(client: Client, worker: Worker) -> None:
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).complete(failed())
    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).finish('"second"')
    answer = (await worker.turn("p")).new[1]

    assert answer.subOrchestrationInstanceCompleted.result.value == '"second"'


async def test_an_event_reaches_its_target_and_leaves_a_mark_in_the_sender(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="a")
    await client.start("parent", id="b")

    await (await worker.turn("a")).complete(send(1, "b"))
    await (await worker.turn("b")).complete()
    item = await worker.turn("b")

    raised = item.new[-1].eventRaised
    assert (raised.name, raised.input.value) == ("news", "1")
    events = await client.history("a")
    assert [e.eventSent.instanceId for e in events if e.HasField("eventSent")] == ["b"]


@pytest.mark.parametrize("target", ["nobody", "a"])
async def test_an_event_for_nobody_or_oneself_is_dropped_and_wakes_nobody(
    client: Client, worker: Worker, target: str
) -> None:
    await client.start("parent", id="a")

    await (await worker.turn("a")).complete(send(1, target))
    await client.raise_event("a", "other")

    assert kinds((await worker.turn("a")).new) == ["orchestratorStarted", "eventRaised"]


async def test_a_new_generation_begins_with_its_input_then_what_was_carried_then_what_came(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    item = await worker.turn("p")
    await client.raise_event("p", "meanwhile")
    kept = pb.HistoryEvent(eventId=-1, eventRaised=pb.EventRaisedEvent(name="kept"))

    await item.complete(continued('"again"', kept))
    again = await worker.turn("p")

    request = again.request
    assert request.executionId.value != item.execution
    assert not request.pastEvents
    assert kinds(again.new)[:2] == ["orchestratorStarted", "executionStarted"]
    assert request.newEvents[1].executionStarted.input.value == '"again"'
    assert [e.eventRaised.name for e in request.newEvents[2:]] == ["kept", "meanwhile"]
    now = await client.state("p")
    assert (now.orchestrationStatus, now.input.value) == (RUNNING, '"again"')


async def test_answers_to_an_old_generation_do_not_reach_the_new_one_but_its_work_runs(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    await (await worker.turn("p")).complete(actions.schedule_task(1, "work"), continued())
    activity = await worker.activity()
    await (await worker.turn("p")).complete()

    await activity.complete()
    await client.raise_event("p", "go")

    assert kinds((await worker.turn("p")).new) == ["orchestratorStarted", "eventRaised"]


async def test_a_waiting_client_waits_on_through_generations(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    waiting = asyncio.create_task(client.completion("p"))
    await asyncio.sleep(0)

    await (await worker.turn("p")).complete(continued('"2"'))
    await (await worker.turn("p")).finish('"end"')

    assert await waiting == COMPLETED
    assert (await client.state("p")).output.value == '"end"'


async def test_a_child_that_continues_as_new_still_answers_its_parent(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")

    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).complete(continued('"2"'))
    await (await worker.turn("c")).finish('"end"')
    answer = (await worker.turn("p")).new[1]

    assert answer.subOrchestrationInstanceCompleted.result.value == '"end"'


async def test_a_child_of_an_old_generation_does_not_answer_the_new_one(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    await (await worker.turn("p")).complete(child(1, "c"), continued())
    await (await worker.turn("p")).complete()

    await (await worker.turn("c")).finish()
    await client.raise_event("p", "go")

    assert kinds((await worker.turn("p")).new) == ["orchestratorStarted", "eventRaised"]


async def test_a_suspended_instance_that_continues_as_new_stays_suspended(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    item = await worker.turn("p")
    await client.suspend("p")

    await item.complete(continued())
    held = await client.state("p")
    await client.resume("p")
    again = await worker.turn("p")

    assert held.orchestrationStatus == SUSPENDED
    assert kinds(again.new)[1:] == ["executionStarted", "executionSuspended", "executionResumed"]
    assert (await client.state("p")).orchestrationStatus == RUNNING


async def test_a_recursive_termination_ends_all_live_descendants(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    await (await worker.turn("p")).complete(child(1, "c1"), child(2, "c2"))
    await (await worker.turn("c1")).complete(child(1, "g"))
    await (await worker.turn("c2")).finish()

    await client.terminate("p", '"stop"', recursive=True)

    found = [(await client.state(i)).orchestrationStatus for i in ("p", "c1", "g", "c2")]
    assert found == [TERMINATED, TERMINATED, TERMINATED, COMPLETED]


async def test_a_termination_without_recursion_leaves_the_children_running(
    client: Client, worker: Worker
) -> None:
    await client.start("parent", id="p")
    await (await worker.turn("p")).complete(child(1, "c"))

    await client.terminate("p")
    await (await worker.turn("c")).finish()

    assert (await client.state("p")).orchestrationStatus == TERMINATED
    assert (await client.state("c")).orchestrationStatus == COMPLETED


@pytest.mark.parametrize("generation", [1, 2])
async def test_the_children_of_an_instance_are_not_those_of_one_that_replaces_it(
    opened: OpenEngine, generation: int
) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start("parent", id="p")
        await (await worker.turn("p")).complete(child(1, "lives"), child(2, "done"))
        await (await worker.turn("done")).finish()
        await worker.turn("p")
        await client.start("parent", id="p", replace=[RUNNING])
        await (await worker.turn("p")).complete(child(1, "mine"))
        if generation == 2:
            await client.raise_event("p", "go")
            await (await worker.turn("p")).complete(continued())
            await (await worker.turn("p")).complete(child(1, "of the second generation"))
    await engine.close()

    client = Client(await opened())
    await client.terminate("p", recursive=True)
    ended = [i for i in ("lives", "mine") if await client.status(i) == TERMINATED]
    purged = await client.purge("p", recursive=True)

    assert ended == ["mine"]
    assert purged == 1 + generation
    assert await client.find("done") is not None


async def test_a_recursive_purge_takes_the_children_along(client: Client, worker: Worker) -> None:
    await client.start("parent", id="p")
    await (await worker.turn("p")).complete(child(1, "c"))
    await (await worker.turn("c")).finish()
    await (await worker.turn("p")).finish()

    assert await client.purge("p", recursive=True) == 2
    assert await client.find("c") is None


async def test_a_refused_action_of_a_child_reaches_a_parent_that_is_on_disk_only(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).start(id="p")
        await (await worker.turn("p")).complete(child(1, "c"))
        await worker.turn("c")
    await engine.close()

    engine = await opened()
    async with Worker(engine) as worker:
        call = pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction())
        await (await worker.turn("c")).complete(call)
        answer = (await worker.turn("p")).new[1]

    failure = answer.subOrchestrationInstanceFailed.failureDetails
    assert failure.errorType == "durableflow.errors.UnsupportedByEngineError"


async def test_replacing_a_live_child_tells_its_parent(client: Client, worker: Worker) -> None:
    await client.start(id="p")
    await (await worker.turn("p")).complete(child(1, "c"))

    await client.start("other", id="c", replace=[PENDING, RUNNING])
    answer = (await worker.turn("p")).new[1]

    assert answer.subOrchestrationInstanceFailed.taskScheduledId == 1
    assert (await client.state("c")).name == "other"


async def test_a_recursive_termination_spares_what_replaced_a_child(
    client: Client, worker: Worker
) -> None:
    await client.start(id="p")
    await (await worker.turn("p")).complete(child(1, "c"), child(2, "gone"))
    await client.start("other", id="c", replace=[PENDING, RUNNING])
    await client.start("other", id="gone", replace=[PENDING, RUNNING])
    await (await worker.turn("gone")).complete()
    await client.terminate("gone")
    await client.purge("gone")

    async with asyncio.timeout(5):
        await client.terminate("p", recursive=True)

    assert (await client.status("p"), await client.status("c")) == (TERMINATED, PENDING)


async def test_a_recursive_termination_goes_down_only_where_instances_start_each_other(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="ping")
        await (await worker.turn("ping")).complete(child(1, "pong"), END_WELL)
        await (await worker.turn("pong")).complete(child(1, "ping"))
        await worker.turn("ping")
    await engine.close()

    engine = await opened()
    client = Client(engine)
    await client.terminate("ping", recursive=True)

    assert await client.status("ping") == TERMINATED
    assert await client.status("pong") == RUNNING


async def test_a_new_generation_keeps_its_place_in_a_trace_also_after_a_restart(
    opened: OpenEngine,
) -> None:
    place = pb.TraceContext(traceParent=f"00-{'1' * 32}-{'2' * 16}-01", spanID="2" * 16)
    place.traceState.value = "vendor=1"
    engine = await opened()
    async with Worker(engine) as worker:
        request = pb.CreateInstanceRequest(name="parent", instanceId="p", parentTraceContext=place)
        await engine.start_instance(request)
        await (await worker.turn("p")).complete()
    await engine.close()

    engine = await opened()
    async with Worker(engine) as worker:
        await Client(engine).raise_event("p", "go")
        await (await worker.turn("p")).complete(continued())
        second = await worker.turn("p")

    assert second.new[1].executionStarted.parentTraceContext == place


async def test_work_of_an_old_generation_stays_its_own_when_its_instance_is_gone(
    opened: OpenEngine,
) -> None:
    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="p")
        await (await worker.turn("p")).complete(actions.schedule_task(1, "work"), continued())
        await worker.activity()
        await (await worker.turn("p")).finish()
        await client.completion("p")
        await client.purge("p")
    await engine.close()

    engine = await opened()
    client = Client(engine)
    async with Worker(engine) as worker:
        await client.start(id="new")
        turn = await worker.turn("new")
        await turn.complete(*(actions.schedule_task(n, "work") for n in range(1, 4)))
        ours = {(await worker.activity()).token for _ in range(4)}

    assert len(ours) == 4


async def test_a_child_that_started_while_the_clock_went_back_is_known_after_a_restart(
    opened: OpenEngine, clock: ManualClock
) -> None:
    engine = await opened(clock=clock)
    client = Client(engine)
    await client.start(id="parent")
    async with Worker(engine) as worker:
        turn = await worker.turn("parent")
        clock.advance(-2 * SECOND)
        await turn.complete(child(1, "child"))
        await (await worker.turn("child")).complete()
        await client.raise_event("parent", "go")
        await (await worker.turn("parent")).complete(continued())
        await (await worker.turn("parent")).complete()
    await engine.close()
    client = Client(await opened(clock=clock))

    await client.terminate("parent", recursive=True)

    assert await client.status("child") == TERMINATED
