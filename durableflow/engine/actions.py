"""What each kind of orchestrator action adds to a turn's outcome.  Pure.

Each action is confirmed by one event in the history, whose ``eventId`` is the action's id.
A table names every kind; what the engine does not carry out fails the instance by name.

Source: orchestrator_service.proto, OrchestratorAction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import state
from durableflow.engine.outcome import (
    ChildStart,
    Continuation,
    Outcome,
    ScheduledActivity,
    ScheduledTimer,
    SentEvent,
    Termination,
)
from durableflow.engine.state import ROW_SPAN, Instance
from durableflow.protocol.times import bounded_micros_of, set_micros

UNSUPPORTED: Final = "durableflow.errors.UnsupportedByEngineError"


def carry_out(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    """Add what an action asks for to the outcome; touch nothing else."""
    _ACTIONS[action.WhichOneof("orchestratorActionType")](instance, outcome, action)


def fail(outcome: Outcome, error_type: str, message: str) -> None:
    """Let the outcome be a failure that another try would not mend."""
    details = pb.TaskFailureDetails(errorType=error_type, errorMessage=message, isNonRetriable=True)
    outcome.status = state.FAILED
    outcome.output = None
    outcome.continued = None
    outcome.failure = details.SerializeToString()


def may_end(action: pb.OrchestratorAction) -> bool:
    """Whether the instance may have ended once this action is carried out."""
    return _ACTIONS[action.WhichOneof("orchestratorActionType")] in (_complete, _refuse)


def confirm(outcome: Outcome, event_id: int) -> pb.HistoryEvent:
    """Add an event to the outcome's history."""
    event = outcome.chunk.events.add()
    event.eventId = event_id
    set_micros(event.timestamp, outcome.updated)
    return event


def child_id(instance: Instance, action: pb.OrchestratorAction) -> str:
    """The id of a sub-orchestration; workers choose it, or it is derived from the parent's."""
    return action.createSubOrchestration.instanceId or f"{instance.instance_id}:{action.id:04x}"


def _schedule_task(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    task = action.scheduleTask
    row = instance.key * ROW_SPAN + instance.events + len(outcome.chunk.events)
    scheduled = confirm(outcome, action.id).taskScheduled
    item = pb.WorkItem()
    request = item.activityRequest
    scheduled.name = request.name = task.name
    if task.HasField("version"):
        scheduled.version.value = request.version.value = task.version.value
    if task.HasField("input"):
        scheduled.input.value = request.input.value = task.input.value
    if task.HasField("parentTraceContext"):
        scheduled.parentTraceContext.CopyFrom(task.parentTraceContext)
        request.parentTraceContext.CopyFrom(task.parentTraceContext)
    if task.tags:
        scheduled.tags.update(task.tags)
        request.tags.update(task.tags)
    request.orchestrationInstance.instanceId = instance.instance_id
    request.orchestrationInstance.executionId.value = instance.execution_id
    request.taskId = action.id
    outcome.activities.append(ScheduledActivity(row, action.id, item))


def _create_timer(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    fire_at = action.createTimer.fireAt
    row = instance.key * ROW_SPAN + instance.events + len(outcome.chunk.events)
    confirm(outcome, action.id).timerCreated.fireAt.CopyFrom(fire_at)
    due = bounded_micros_of(fire_at) + bool(fire_at.nanos % 1000)
    outcome.timers.append(ScheduledTimer(row, action.id, due, fire_at.SerializeToString()))


def _create_sub_orchestration(
    instance: Instance, outcome: Outcome, action: pb.OrchestratorAction
) -> None:
    child = action.createSubOrchestration
    created = confirm(outcome, action.id).subOrchestrationInstanceCreated
    request = pb.CreateInstanceRequest()
    created.instanceId = request.instanceId = child_id(instance, action)
    created.name = request.name = child.name
    if child.HasField("version"):
        created.version.value = request.version.value = child.version.value
    if child.HasField("input"):
        created.input.value = request.input.value = child.input.value
    if child.HasField("parentTraceContext"):
        created.parentTraceContext.CopyFrom(child.parentTraceContext)
        request.parentTraceContext.CopyFrom(child.parentTraceContext)
    created.tags.update(child.tags)
    request.tags.update(child.tags)
    outcome.children.append(ChildStart(action.id, request))


def _send_event(_: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    send = action.sendEvent
    sent = confirm(outcome, action.id).eventSent
    raised = pb.HistoryEvent(eventId=-1)
    set_micros(raised.timestamp, outcome.updated)
    sent.instanceId = send.instance.instanceId
    sent.name = raised.eventRaised.name = send.name
    if send.HasField("data"):
        sent.input.value = raised.eventRaised.input.value = send.data.value
    outcome.sent.append(SentEvent(send.instance.instanceId, raised))


def _terminate(_: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    # The protocol has no event that would confirm this action.
    terminate = action.terminateOrchestration
    output = terminate.reason.value if terminate.HasField("reason") else None
    outcome.terminations.append(Termination(terminate.instanceId, output, terminate.recurse))


def _complete(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    complete = action.completeOrchestration
    if outcome.failure is not None:  # an action before this one was refused
        return
    result = complete.result.value if complete.HasField("result") else None
    if complete.orchestrationStatus == state.CONTINUED_AS_NEW:
        version = complete.newVersion.value if complete.HasField("newVersion") else instance.version
        # Copies: they stay, and a part of the response would keep all of it.
        carried = [_copy(event) for event in complete.carryoverEvents]
        outcome.continued = Continuation(result, version, carried)
        return
    outcome.status = complete.orchestrationStatus
    outcome.output = result
    if complete.HasField("failureDetails"):
        outcome.failure = complete.failureDetails.SerializeToString()


def _copy(event: pb.HistoryEvent) -> pb.HistoryEvent:
    copy = pb.HistoryEvent()
    copy.CopyFrom(event)
    return copy


def _refuse(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    kind = action.WhichOneof("orchestratorActionType") or "an action without a kind"
    message = (
        f"The embedded engine does not carry out {kind} yet, so instance "
        f"'{instance.instance_id}' cannot go on. Remove the call, or run on an engine that "
        "supports it."
    )
    fail(outcome, UNSUPPORTED, message)


Action = Callable[[Instance, Outcome, pb.OrchestratorAction], None]

# Every kind of action, by its name in OrchestratorAction.  None: a kind newer than this table.
_ACTIONS: Final[dict[str | None, Action]] = {
    "scheduleTask": _schedule_task,
    "createTimer": _create_timer,
    "createSubOrchestration": _create_sub_orchestration,
    "sendEvent": _send_event,
    "completeOrchestration": _complete,
    "terminateOrchestration": _terminate,
    "sendEntityMessage": _refuse,
    "rewindOrchestration": _refuse,
    None: _refuse,
}

ACTION_KINDS: Final = frozenset(kind for kind in _ACTIONS if kind is not None)
