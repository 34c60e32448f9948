"""What instances do to one another: children, sent events, generations, terminations."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.state import (
    COMPLETED,
    CONTINUED_AS_NEW,
    FAILED,
    RUNNING,
    SUSPENDED,
    TERMINATED,
)


class Worker:
    """Reads a stream and answers turns one by one, as the test says."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stream = engine.get_work_items(pb.GetWorkItemsRequest(worker_instance_id="w"))
        self._ahead: list[pb.WorkItem] = []

    async def turn(self, instance_id: str) -> pb.WorkItem:
        """The next turn of this instance."""
        for item in self._ahead:
            if item.orchestratorRequest.instanceId == instance_id:
                self._ahead.remove(item)
                return item
        while True:
            item = await anext(self._stream)
            if item.orchestratorRequest.instanceId == instance_id:
                return item
            self._ahead.append(item)

    async def activity(self) -> pb.WorkItem:
        for item in self._ahead:
            if item.HasField("activityRequest"):
                self._ahead.remove(item)
                return item
        while True:
            item = await anext(self._stream)
            if item.HasField("activityRequest"):
                return item
            self._ahead.append(item)

    async def answer(self, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        await self._engine.complete_orchestrator_task(
            pb.OrchestratorResponse(
                instanceId=item.orchestratorRequest.instanceId,
                completionToken=item.completionToken,
                actions=actions,
            )
        )

    def stop(self) -> None:
        self._stream.cancel()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(None)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def worker(engine: Engine) -> AsyncIterator[Worker]:
    worker = Worker(engine)
    yield worker
    worker.stop()


def child(action_id: int, instance_id: str, payload: str = '"in"') -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=action_id)
    action.createSubOrchestration.name = "child"
    action.createSubOrchestration.instanceId = instance_id
    action.createSubOrchestration.version.value = "2.0.0"
    action.createSubOrchestration.input.value = payload
    action.createSubOrchestration.tags["team"] = "a"
    return action


def schedule(action_id: int) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=action_id, scheduleTask=pb.ScheduleTaskAction(name="work"))


def send(action_id: int, target: str) -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=action_id)
    action.sendEvent.instance.instanceId = target
    action.sendEvent.name = "news"
    action.sendEvent.data.value = "1"
    return action


def complete(
    result: str = '"done"', status: int = COMPLETED, carried: list[pb.HistoryEvent] | None = None
) -> pb.OrchestratorAction:
    action = pb.OrchestratorAction(id=99)
    action.completeOrchestration.orchestrationStatus = status
    action.completeOrchestration.result.value = result
    action.completeOrchestration.carryoverEvents.extend(carried or [])
    if status == FAILED:
        action.completeOrchestration.failureDetails.errorMessage = "boom"
        action.completeOrchestration.ClearField("result")
    return action


async def start(engine: Engine, instance_id: str) -> None:
    await engine.start_instance(pb.CreateInstanceRequest(instanceId=instance_id, name="parent"))


async def state(engine: Engine, instance_id: str) -> pb.OrchestrationState:
    reply = await engine.get_instance(
        pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True)
    )
    assert reply.exists
    return reply.orchestrationState


def kinds(item: pb.WorkItem) -> list[str]:
    return [e.WhichOneof("eventType") or "" for e in item.orchestratorRequest.newEvents]


async def test_a_child_knows_its_parent_and_its_result_reaches_it(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "p:0001"))
    first = await worker.turn("p:0001")
    await worker.answer(first, complete('"result"'))
    second = await worker.turn("p")

    started = first.orchestratorRequest.newEvents[1].executionStarted
    assert started.parentInstance.orchestrationInstance.instanceId == "p"
    assert started.parentInstance.taskScheduledId == 1
    assert started.parentInstance.name.value == "parent"
    assert started.version.value == "2.0.0"
    assert dict(started.tags) == {"team": "a"}
    assert kinds(second) == ["orchestratorStarted", "subOrchestrationInstanceCompleted"]
    completed = second.orchestratorRequest.newEvents[1].subOrchestrationInstanceCompleted
    assert (completed.taskScheduledId, completed.result.value) == (1, '"result"')
    assert (await state(engine, "p:0001")).parentInstanceId.value == "p"


async def test_a_failed_child_answers_with_its_failure(engine: Engine, worker: Worker) -> None:
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete(status=FAILED))
    answer = (await worker.turn("p")).orchestratorRequest.newEvents[1]

    assert answer.subOrchestrationInstanceFailed.failureDetails.errorMessage == "boom"


async def test_a_terminated_child_counts_as_failed(engine: Engine, worker: Worker) -> None:
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.turn("c")
    await engine.terminate_instance(pb.TerminateRequest(instanceId="c"))
    answer = (await worker.turn("p")).orchestratorRequest.newEvents[1]

    assert answer.WhichOneof("eventType") == "subOrchestrationInstanceFailed"


async def test_a_child_replaces_a_terminal_instance_of_its_id(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "c")
    await worker.answer(await worker.turn("c"), complete('"old"'))
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete('"new"'))

    assert (await state(engine, "c")).output.value == '"new"'


async def test_a_child_whose_id_belongs_to_a_live_instance_fails(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "c")
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    answer = (await worker.turn("p")).orchestratorRequest.newEvents[1]

    assert answer.subOrchestrationInstanceFailed.taskScheduledId == 1
    assert (await state(engine, "c")).name == "parent"


async def test_a_retried_child_runs_again_under_the_same_id(engine: Engine, worker: Worker) -> None:
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete(status=FAILED))
    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete('"second"'))
    answer = (await worker.turn("p")).orchestratorRequest.newEvents[1]

    assert answer.subOrchestrationInstanceCompleted.result.value == '"second"'


async def test_an_event_reaches_its_target_and_leaves_a_mark_in_the_sender(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "a")
    await start(engine, "b")

    await worker.answer(await worker.turn("a"), send(1, "b"))
    await worker.answer(await worker.turn("b"))
    item = await worker.turn("b")

    raised = item.orchestratorRequest.newEvents[-1].eventRaised
    assert (raised.name, raised.input.value) == ("news", "1")
    chunks = engine.stream_instance_history(pb.StreamInstanceHistoryRequest(instanceId="a"))
    events = [event async for chunk in chunks for event in chunk.events]
    assert [e.eventSent.instanceId for e in events if e.HasField("eventSent")] == ["b"]


@pytest.mark.parametrize("target", ["nobody", "a"])
async def test_an_event_for_nobody_or_oneself_is_dropped_and_wakes_nobody(
    engine: Engine, worker: Worker, target: str
) -> None:
    await start(engine, "a")

    await worker.answer(await worker.turn("a"), send(1, target))
    await engine.raise_event(pb.RaiseEventRequest(instanceId="a", name="other"))

    assert kinds(await worker.turn("a")) == ["orchestratorStarted", "eventRaised"]


async def test_a_new_generation_begins_with_its_input_then_what_was_carried_then_what_came(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    item = await worker.turn("p")
    await engine.raise_event(pb.RaiseEventRequest(instanceId="p", name="meanwhile"))
    kept = pb.HistoryEvent(eventId=-1, eventRaised=pb.EventRaisedEvent(name="kept"))

    await worker.answer(item, complete('"again"', CONTINUED_AS_NEW, [kept]))
    again = await worker.turn("p")

    request = again.orchestratorRequest
    assert request.executionId.value != item.orchestratorRequest.executionId.value
    assert not request.pastEvents
    assert kinds(again)[:2] == ["orchestratorStarted", "executionStarted"]
    assert request.newEvents[1].executionStarted.input.value == '"again"'
    assert [e.eventRaised.name for e in request.newEvents[2:]] == ["kept", "meanwhile"]
    now = await state(engine, "p")
    assert (now.orchestrationStatus, now.input.value) == (RUNNING, '"again"')


async def test_answers_to_an_old_generation_do_not_reach_the_new_one_but_its_work_runs(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    await worker.answer(await worker.turn("p"), schedule(1), complete(status=CONTINUED_AS_NEW))
    activity = await worker.activity()
    await worker.answer(await worker.turn("p"))

    await engine.complete_activity_task(
        pb.ActivityResponse(instanceId="p", taskId=1, completionToken=activity.completionToken)
    )
    await engine.raise_event(pb.RaiseEventRequest(instanceId="p", name="go"))

    assert kinds(await worker.turn("p")) == ["orchestratorStarted", "eventRaised"]


async def test_a_waiting_client_waits_on_through_generations(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    waiting = engine.wait_for_instance_completion(
        pb.GetInstanceRequest(instanceId="p", getInputsAndOutputs=True), timeout=20
    )

    async def run() -> None:
        await worker.answer(await worker.turn("p"), complete('"2"', CONTINUED_AS_NEW))
        await worker.answer(await worker.turn("p"), complete('"end"'))

    await run()
    reply = await waiting

    assert reply.orchestrationState.output.value == '"end"'


async def test_a_child_that_continues_as_new_still_answers_its_parent(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")

    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete('"2"', CONTINUED_AS_NEW))
    await worker.answer(await worker.turn("c"), complete('"end"'))
    answer = (await worker.turn("p")).orchestratorRequest.newEvents[1]

    assert answer.subOrchestrationInstanceCompleted.result.value == '"end"'


async def test_a_child_of_an_old_generation_does_not_answer_the_new_one(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    await worker.answer(await worker.turn("p"), child(1, "c"), complete(status=CONTINUED_AS_NEW))
    await worker.answer(await worker.turn("p"))

    await worker.answer(await worker.turn("c"), complete())
    await engine.raise_event(pb.RaiseEventRequest(instanceId="p", name="go"))

    assert kinds(await worker.turn("p")) == ["orchestratorStarted", "eventRaised"]


async def test_a_suspended_instance_that_continues_as_new_stays_suspended(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    item = await worker.turn("p")
    await engine.suspend_instance(pb.SuspendRequest(instanceId="p"))

    await worker.answer(item, complete(status=CONTINUED_AS_NEW))
    held = await state(engine, "p")
    await engine.resume_instance(pb.ResumeRequest(instanceId="p"))
    again = await worker.turn("p")

    assert held.orchestrationStatus == SUSPENDED
    assert kinds(again)[1:] == ["executionStarted", "executionSuspended", "executionResumed"]
    assert (await state(engine, "p")).orchestrationStatus == RUNNING


async def test_a_recursive_termination_ends_all_live_descendants(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    await worker.answer(await worker.turn("p"), child(1, "c1"), child(2, "c2"))
    await worker.answer(await worker.turn("c1"), child(1, "g"))
    await worker.answer(await worker.turn("c2"), complete())

    request = pb.TerminateRequest(instanceId="p", recursive=True)
    request.output.value = '"stop"'
    await engine.terminate_instance(request)

    found = [(await state(engine, i)).orchestrationStatus for i in ("p", "c1", "g", "c2")]
    assert found == [TERMINATED, TERMINATED, TERMINATED, COMPLETED]


async def test_a_termination_without_recursion_leaves_the_children_running(
    engine: Engine, worker: Worker
) -> None:
    await start(engine, "p")
    await worker.answer(await worker.turn("p"), child(1, "c"))

    await engine.terminate_instance(pb.TerminateRequest(instanceId="p"))
    await worker.answer(await worker.turn("c"), complete())

    assert (await state(engine, "p")).orchestrationStatus == TERMINATED
    assert (await state(engine, "c")).orchestrationStatus == COMPLETED


async def test_a_recursive_purge_takes_the_children_along(engine: Engine, worker: Worker) -> None:
    await start(engine, "p")
    await worker.answer(await worker.turn("p"), child(1, "c"))
    await worker.answer(await worker.turn("c"), complete())
    await worker.answer(await worker.turn("p"), complete())

    reply = await engine.purge_instances(pb.PurgeInstancesRequest(instanceId="p", recursive=True))

    assert reply.deletedInstanceCount == 2
    gone = await engine.get_instance(pb.GetInstanceRequest(instanceId="c"))
    assert not gone.exists
