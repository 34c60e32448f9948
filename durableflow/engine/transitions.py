"""What each message changes in an instance.  Pure: no clock, thread, socket, database.

    message                     decided by          changes
    --------------------------  ------------------  ----------------------------------------------
    StartInstance               ``create``          a new PENDING instance, executionStarted waiting
    orchestrator turn           ``apply_turn``      history, activities, timers, status
    activity result             ``task_result``     one event waiting
    timer due                   ``timer_fired``     one event waiting
    RaiseEvent                  ``event_raised``    one event waiting
    Suspend / Resume            ``suspend``/``resume``  status, one event waiting
    Terminate                   ``terminate``       history closed, TERMINATED

A function here works out an ``Outcome`` or an event and touches nothing; ``absorb`` then makes an
``Outcome`` true of the instance.  What an outcome asks of the rest of the engine (activities to
run, timers to set) leaves only once it is committed.

Source of the rules: the Durable Task protocol's behaviour as public SDKs and engines show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import state
from durableflow.engine.state import ROW_SPAN, Instance, Message, start_row
from durableflow.protocol.times import micros_of, set_micros

UNSUPPORTED_ACTION: Final = "durableflow.errors.UnsupportedByEngineError"


@frozen(eq=False)
class ScheduledActivity:
    """An activity to run: its row, and the work item to hand out (without a token)."""

    row: int
    task_id: int
    item: pb.WorkItem


@frozen(eq=False)
class ScheduledTimer:
    """A timer to set: its row, when it is due (µs UTC, never early), and its time as given."""

    row: int
    timer_id: int
    fire_at: int
    stamp: bytes


@define(slots=True, eq=False)
class Outcome:
    """All that one turn (or a termination) changes.

    Attributes:
        chunk: The events that the history gains, in order.
        consumed: How many messages of the inbox, from its front, are now history.
    """

    status: int
    updated: int
    chunk: pb.HistoryChunk
    consumed: int
    custom_status: str | None = None
    output: str | None = None
    failure: bytes | None = None
    trace: bytes | None = None
    activities: list[ScheduledActivity] = field(factory=list)
    timers: list[ScheduledTimer] = field(factory=list)


def create(
    request: pb.CreateInstanceRequest, *, key: int, instance_id: str, execution_id: str, now: int
) -> tuple[Instance, ScheduledTimer | None]:
    """Make the instance that a StartInstance asks for, its ``executionStarted`` waiting.

    Returns:
        The instance, and the timer that holds it back when its start lies in the future.
    """
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    started = event.executionStarted
    started.name = request.name
    started.orchestrationInstance.instanceId = instance_id
    started.orchestrationInstance.executionId.value = execution_id
    if request.HasField("version"):
        started.version.value = request.version.value
    if request.HasField("input"):
        started.input.value = request.input.value
    if request.HasField("parentTraceContext"):
        started.parentTraceContext.CopyFrom(request.parentTraceContext)
    started.tags.update(request.tags)
    instance = Instance(
        key=key,
        instance_id=instance_id,
        execution_id=execution_id,
        name=request.name,
        version=request.version.value if request.HasField("version") else None,
        input=request.input.value if request.HasField("input") else None,
        created=now,
        updated=now,
        tags=dict(request.tags),
        inbox=[Message(key * ROW_SPAN, event)],
    )
    if not request.HasField("scheduledStartTimestamp"):
        return instance, None
    instance.scheduled = micros_of(request.scheduledStartTimestamp)
    started.scheduledStartTimestamp.CopyFrom(request.scheduledStartTimestamp)
    if instance.scheduled <= now:
        return instance, None
    timer = ScheduledTimer(start_row(key), 0, instance.scheduled, b"")
    instance.timers[timer.row] = 0
    return instance, timer


def new_events(instance: Instance, now: int) -> list[pb.HistoryEvent]:
    """The batch that the next turn gets: a fresh ``orchestratorStarted``, then all that waits.

    Its time is what the orchestrator sees as the current time, so it is never earlier than the
    one before.
    """
    started = pb.HistoryEvent(eventId=-1)
    set_micros(started.timestamp, max(now, instance.last_started))
    started.orchestratorStarted.SetInParent()
    return [started, *(message.event for message in instance.inbox)]


def apply_turn(
    instance: Instance,
    events: Sequence[pb.HistoryEvent],
    response: pb.OrchestratorResponse,
    now: int,
) -> Outcome:
    """Work out everything one orchestrator turn changes; touch nothing.

    Args:
        events: The new events that the turn was given, as ``new_events`` made them.
        now: µs UTC.  Stamped on the confirmations, so one turn has one time.

    Source: orchestrator_service.proto, OrchestratorResponse.
    """
    if response.HasField("numEventsProcessed"):
        events = events[: max(1, response.numEventsProcessed.value)]
    outcome = Outcome(
        status=state.RUNNING,
        updated=now,
        chunk=pb.HistoryChunk(),
        consumed=len(events) - 1,
        custom_status=response.customStatus.value if response.HasField("customStatus") else None,
    )
    outcome.chunk.events.extend(events)
    if response.HasField("orchestrationTraceContext"):
        outcome.trace = response.orchestrationTraceContext.SerializeToString()
    for action in response.actions:
        _ACTIONS[action.WhichOneof("orchestratorActionType")](instance, outcome, action)
    _close_turn(outcome)
    return outcome


def terminate(
    instance: Instance, events: Sequence[pb.HistoryEvent], output: str | None, now: int
) -> Outcome:
    """Close an instance at once, whatever it is doing; touch nothing.

    Args:
        events: What waits for the instance, as ``new_events`` made it; it becomes history.
        output: Raw text, kept verbatim as the instance's output.
    """
    outcome = Outcome(
        status=state.TERMINATED,
        updated=now,
        chunk=pb.HistoryChunk(),
        consumed=len(events) - 1,
        custom_status=instance.custom_status,
        output=output,
        trace=instance.trace,
    )
    outcome.chunk.events.extend(events)
    terminated = _confirm(outcome, -1).executionTerminated
    terminated.SetInParent()
    if output is not None:
        terminated.input.value = output
    _close_turn(outcome)
    return outcome


def absorb(instance: Instance, outcome: Outcome) -> list[Message]:
    """Make an outcome true of its instance.

    Returns:
        The messages that are history now.
    """
    chunk = outcome.chunk.events
    instance.last_started = micros_of(chunk[0].timestamp)
    instance.events += len(chunk)
    instance.chunks += 1
    instance.updated = outcome.updated
    instance.custom_status = outcome.custom_status
    instance.trace = outcome.trace
    instance.parked = None
    instance.status = outcome.status
    consumed = instance.inbox[: outcome.consumed]
    del instance.inbox[: outcome.consumed]
    for activity in outcome.activities:
        instance.activities[activity.row] = activity.task_id
    if outcome.status in state.TERMINAL:
        instance.completed = outcome.updated
        instance.output = outcome.output
        instance.failure = outcome.failure
        instance.suspended = False
        instance.timers.clear()
        outcome.timers.clear()
        consumed += instance.inbox
        instance.inbox.clear()
        return consumed
    for timer in outcome.timers:
        instance.timers[timer.row] = timer.timer_id
    if instance.suspended:
        instance.status = state.SUSPENDED
    return consumed


def task_result(task_id: int, response: pb.ActivityResponse, now: int) -> pb.HistoryEvent:
    """The event that an activity's answer becomes.

    Only the presence of ``failureDetails`` makes it a failure; its message may be empty.
    """
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    if response.HasField("failureDetails"):
        event.taskFailed.taskScheduledId = task_id
        event.taskFailed.failureDetails.CopyFrom(response.failureDetails)
        return event
    event.taskCompleted.taskScheduledId = task_id
    if response.HasField("result"):
        event.taskCompleted.result.value = response.result.value
    return event


def timer_fired(timer_id: int, stamp: bytes, now: int) -> pb.HistoryEvent:
    """The event that a due timer becomes; its time is the one that was asked for, unchanged."""
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.timerFired.timerId = timer_id
    event.timerFired.fireAt.ParseFromString(stamp)
    return event


def event_raised(request: pb.RaiseEventRequest, now: int) -> pb.HistoryEvent:
    """The event that a RaiseEvent becomes."""
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.eventRaised.name = request.name
    if request.HasField("input"):
        event.eventRaised.input.value = request.input.value
    return event


def suspend(instance: Instance, reason: str | None, now: int, *, in_turn: bool) -> pb.HistoryEvent:
    """Suspend an instance that is neither terminal nor suspended.

    It holds at once when no turn is in flight, else when that turn is applied.
    """
    instance.suspended = True
    instance.updated = now
    if not in_turn:
        instance.status = state.SUSPENDED
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.executionSuspended.SetInParent()
    if reason is not None:
        event.executionSuspended.input.value = reason
    return event


def resume(instance: Instance, reason: str | None, now: int) -> pb.HistoryEvent:
    """Resume a suspended instance; what was held comes with the next turn."""
    instance.suspended = False
    instance.updated = now
    instance.status = state.RUNNING if instance.chunks else state.PENDING
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.executionResumed.SetInParent()
    if reason is not None:
        event.executionResumed.input.value = reason
    return event


def _confirm(outcome: Outcome, event_id: int) -> pb.HistoryEvent:
    event = outcome.chunk.events.add()
    event.eventId = event_id
    set_micros(event.timestamp, outcome.updated)
    return event


def _close_turn(outcome: Outcome) -> None:
    _confirm(outcome, -1).orchestratorCompleted.SetInParent()
    if outcome.status not in state.TERMINAL:
        return
    completed = _confirm(outcome, -1).executionCompleted
    completed.orchestrationStatus = outcome.status  # type: ignore[assignment]  # the stub wants its own int type
    if outcome.output is not None:
        completed.result.value = outcome.output
    if outcome.failure is not None:
        completed.failureDetails.ParseFromString(outcome.failure)


def _schedule_task(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    task = action.scheduleTask
    row = instance.key * ROW_SPAN + instance.events + len(outcome.chunk.events)
    scheduled = _confirm(outcome, action.id).taskScheduled
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
    _confirm(outcome, action.id).timerCreated.fireAt.CopyFrom(fire_at)
    due = fire_at.seconds * 1_000_000 + -(-fire_at.nanos // 1000)
    outcome.timers.append(ScheduledTimer(row, action.id, due, fire_at.SerializeToString()))


def _complete(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    complete = action.completeOrchestration
    if complete.orchestrationStatus == state.CONTINUED_AS_NEW:
        _refuse(instance, outcome, action)
        return
    if outcome.failure is not None:  # an action before this one was refused
        return
    outcome.status = complete.orchestrationStatus
    if complete.HasField("result"):
        outcome.output = complete.result.value
    if complete.HasField("failureDetails"):
        outcome.failure = complete.failureDetails.SerializeToString()


def _refuse(instance: Instance, outcome: Outcome, action: pb.OrchestratorAction) -> None:
    kind = action.WhichOneof("orchestratorActionType") or "an action without a kind"
    if kind == "completeOrchestration":
        kind = "continue-as-new"
    details = pb.TaskFailureDetails(
        errorType=UNSUPPORTED_ACTION,
        errorMessage=(
            f"The embedded engine does not carry out {kind} yet, so instance "
            f"'{instance.instance_id}' cannot go on. Remove the call, or run on an engine that "
            "supports it."
        ),
        isNonRetriable=True,
    )
    outcome.status = state.FAILED
    outcome.output = None
    outcome.failure = details.SerializeToString()


Action = Callable[[Instance, Outcome, pb.OrchestratorAction], None]

# Every kind of action, by its name in OrchestratorAction.  None: a kind newer than this table.
_ACTIONS: Final[dict[str | None, Action]] = {
    "scheduleTask": _schedule_task,
    "createTimer": _create_timer,
    "completeOrchestration": _complete,
    "createSubOrchestration": _refuse,
    "sendEvent": _refuse,
    "terminateOrchestration": _refuse,
    "sendEntityMessage": _refuse,
    "rewindOrchestration": _refuse,
    None: _refuse,
}

ACTION_KINDS: Final = frozenset(kind for kind in _ACTIONS if kind is not None)
