"""Builders that make a history readable, and a session that runs through one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.protocol.failures import FailureDetails, to_message
from durableflow.protocol.times import to_timestamp
from durableflow.registry import Registry
from durableflow.replay import Callees, Diverged, Session, Turn

START = datetime(2030, 1, 1, tzinfo=UTC)


def event(event_id: int = -1) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=event_id)


def turn_started(seconds: float = 0) -> pb.HistoryEvent:
    made = event()
    made.orchestratorStarted.SetInParent()
    made.timestamp.CopyFrom(to_timestamp(START + timedelta(seconds=seconds)))
    return made


def turn_completed() -> pb.HistoryEvent:
    made = event()
    made.orchestratorCompleted.SetInParent()
    return made


def started(
    name: str = "order",
    input: Any = None,
    *,
    version: str | None = None,
    instance_id: str = "a1",
    execution_id: str = "e1",
    parent: str | None = None,
) -> pb.HistoryEvent:
    made = event()
    body = made.executionStarted
    body.name = name
    body.orchestrationInstance.instanceId = instance_id
    body.orchestrationInstance.executionId.value = execution_id
    if input is not None:
        body.input.value = json.dumps(input)
    if version is not None:
        body.version.value = version
    if parent is not None:
        body.parentInstance.orchestrationInstance.instanceId = parent
    return made


def scheduled(task_id: int, name: str, input: Any = None) -> pb.HistoryEvent:
    made = event(task_id)
    made.taskScheduled.name = name
    if input is not None:
        made.taskScheduled.input.value = json.dumps(input)
    return made


def completed(task_id: int, result: Any = None) -> pb.HistoryEvent:
    made = event()
    made.taskCompleted.taskScheduledId = task_id
    if result is not None:
        made.taskCompleted.result.value = json.dumps(result)
    return made


def failed(task_id: int, message: str = "boom", *, retriable: bool = True) -> pb.HistoryEvent:
    details = FailureDetails("builtins.ValueError", message, is_non_retriable=not retriable)
    made = event()
    made.taskFailed.taskScheduledId = task_id
    made.taskFailed.failureDetails.CopyFrom(to_message(details))
    return made


def timer_created(timer_id: int, seconds: float = 0) -> pb.HistoryEvent:
    made = event(timer_id)
    made.timerCreated.fireAt.CopyFrom(to_timestamp(START + timedelta(seconds=seconds)))
    return made


def timer_fired(timer_id: int) -> pb.HistoryEvent:
    made = event()
    made.timerFired.timerId = timer_id
    return made


def child_created(
    task_id: int, name: str, instance_id: str = "", *, version: str | None = None
) -> pb.HistoryEvent:
    made = event(task_id)
    made.subOrchestrationInstanceCreated.name = name
    made.subOrchestrationInstanceCreated.instanceId = instance_id or f"a1:{task_id:04x}"
    if version is not None:
        made.subOrchestrationInstanceCreated.version.value = version
    return made


def child_completed(task_id: int, result: Any = None) -> pb.HistoryEvent:
    made = event()
    made.subOrchestrationInstanceCompleted.taskScheduledId = task_id
    if result is not None:
        made.subOrchestrationInstanceCompleted.result.value = json.dumps(result)
    return made


def child_failed(task_id: int, message: str = "boom") -> pb.HistoryEvent:
    details = FailureDetails("builtins.ValueError", message)
    made = event()
    made.subOrchestrationInstanceFailed.taskScheduledId = task_id
    made.subOrchestrationInstanceFailed.failureDetails.CopyFrom(to_message(details))
    return made


def event_sent(event_id: int, instance_id: str, name: str) -> pb.HistoryEvent:
    made = event(event_id)
    made.eventSent.instanceId = instance_id
    made.eventSent.name = name
    return made


def raised(name: str, data: Any = None, *, at: float = 0) -> pb.HistoryEvent:
    made = event()
    made.timestamp.CopyFrom(to_timestamp(START + timedelta(seconds=at)))
    made.eventRaised.name = name
    if data is not None:
        made.eventRaised.input.value = json.dumps(data)
    return made


def suspended() -> pb.HistoryEvent:
    made = event()
    made.executionSuspended.SetInParent()
    return made


def resumed() -> pb.HistoryEvent:
    made = event()
    made.executionResumed.SetInParent()
    return made


def terminated(output: str | None = None) -> pb.HistoryEvent:
    made = event()
    made.executionTerminated.SetInParent()
    if output is not None:
        made.executionTerminated.input.value = output
    return made


def turns(*batches: Iterable[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """Make a history of turns, each with its start and its end."""
    history: list[pb.HistoryEvent] = []
    for second, batch in enumerate(batches):
        history += [turn_started(second), *batch, turn_completed()]
    return history


class Bench:
    """A registry with activities, and sessions of one orchestrator."""

    def __init__(self, *activities: Callable[..., Any], private_hub: str | None = None) -> None:
        self.registry = Registry()
        self.callees = Callees(self.registry, private_hub=private_hub)
        self.converter = Converter()
        for activity in activities:
            self.registry.add_activity(activity)

    def session(
        self, function: Callable[..., Any], *, version: str | None = None, fail: bool = False
    ) -> Session:
        definition = self.registry.find_orchestrator(
            function.__name__, version
        ) or self.registry.add_orchestrator(function, version=version)
        return Session(
            definition,
            converter=self.converter,
            callees=self.callees,
            fail_on_nondeterminism=fail,
        )

    def run(
        self,
        function: Callable[..., Any],
        *new: pb.HistoryEvent,
        past: Iterable[pb.HistoryEvent] = (),
        at: float = 0,
    ) -> Turn:
        """Make the first turn of a session, or the next one after a past."""
        turn = self.session(function).turn(list(past), [turn_started(at), *new])
        assert isinstance(turn, Turn), turn
        return turn

    def diverge(
        self,
        function: Callable[..., Any],
        past: Iterable[pb.HistoryEvent],
        *new: pb.HistoryEvent,
        version: str | None = None,
    ) -> str:
        """Replay what does not fit; return the diagnosis."""
        turn = self.session(function, version=version).turn(list(past), [turn_started(), *new])
        assert isinstance(turn, Diverged), turn
        return turn.reason


def described(turn: Turn) -> list[str]:
    """Show the actions of a turn as short texts."""
    return [describe(action) for action in turn.actions]


def describe(action: pb.OrchestratorAction) -> str:
    kind = action.WhichOneof("orchestratorActionType")
    if kind == "scheduleTask":
        return f"{action.id} {action.scheduleTask.name}({action.scheduleTask.input.value})"
    if kind == "createTimer":
        seconds = action.createTimer.fireAt.ToDatetime(UTC) - START
        return f"{action.id} timer {seconds.total_seconds():g}"
    if kind == "createSubOrchestration":
        child = action.createSubOrchestration
        version = f" v{child.version.value}" if child.HasField("version") else ""
        return f"{action.id} {child.instanceId} = {child.name}{version}({child.input.value})"
    if kind == "sendEvent":
        sent = action.sendEvent
        return f"{action.id} to {sent.instance.instanceId}: {sent.name}({sent.data.value})"
    complete = action.completeOrchestration
    status = pb.OrchestrationStatus.Name(complete.orchestrationStatus)
    text = complete.failureDetails.errorMessage or complete.result.value
    carried = [
        f"{event.eventRaised.name}({event.eventRaised.input.value})"
        for event in complete.carryoverEvents
    ]
    words = [status.removeprefix("ORCHESTRATION_STATUS_").lower(), text, *carried]
    return " ".join(word for word in words if word)


def failure_of(turn: Turn) -> pb.TaskFailureDetails:
    """The failure that an orchestration ended with."""
    complete = turn.actions[-1].completeOrchestration
    assert complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED, turn
    return complete.failureDetails


def result_of(turn: Turn) -> Any:
    """The result that an orchestration ended with."""
    complete = turn.actions[-1].completeOrchestration
    assert complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED, described(turn)
    return json.loads(complete.result.value) if complete.HasField("result") else None
