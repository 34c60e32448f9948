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
    end of a child              ``answer_of``       one event waiting in its parent
    continue-as-new             ``next_generation`` a new execution under the same id

A function here works out an ``Outcome`` or an event and touches nothing; ``absorb`` then makes an
``Outcome`` true of the instance.  What an outcome asks of the rest of the engine (activities to
run, timers to set) leaves only once it is committed.

Source of the rules: the Durable Task protocol's behaviour as public SDKs and engines show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine import state
from durableflow.engine.actions import carry_out, child_id, confirm, fail, may_end
from durableflow.engine.outcome import Continuation, Outcome, ScheduledTimer
from durableflow.engine.state import ROW_SPAN, Instance, Message, start_row
from durableflow.protocol.times import bounded_micros_of, micros_of, set_micros

CHILD_ENDED: Final = "durableflow.errors.OrchestrationTerminated"
ALREADY_EXISTS: Final = "durableflow.errors.InstanceAlreadyExistsError"
TOO_LONG: Final = "durableflow.errors.OrchestratorError"

_TOO_LONG_TEXT: Final = (
    "The history of instance '{instance.instance_id}' has {instance.events} events, as many as it "
    "may have. Let the orchestrator call continue_as_new from time to time."
)

# What waits for an instance whatever its generation; everything else answers one execution.
_OUTLIVING: Final = frozenset({"eventRaised", "executionSuspended", "executionResumed"})


def create(
    request: pb.CreateInstanceRequest,
    *,
    key: int,
    execution_id: str,
    now: int,
    parent: pb.ParentInstanceInfo | None = None,
) -> tuple[Instance, ScheduledTimer | None]:
    """Make the instance that a request with an id asks for, its ``executionStarted`` waiting.

    Args:
        parent: Set for a sub-orchestration.

    Returns:
        The instance, and the timer that holds it back when its start lies in the future.
    """
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    started = event.executionStarted
    started.name = request.name
    started.orchestrationInstance.instanceId = request.instanceId
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
        instance_id=request.instanceId,
        execution_id=execution_id,
        name=request.name,
        version=request.version.value if request.HasField("version") else None,
        input=request.input.value if request.HasField("input") else None,
        created=now,
        updated=now,
        tags=dict(request.tags),
        inbox=[Message(key * ROW_SPAN, event)],
    )
    if request.HasField("parentTraceContext"):
        instance.parent_trace = request.parentTraceContext.SerializeToString()
    if parent is not None:
        started.parentInstance.CopyFrom(parent)
        instance.parent = parent.SerializeToString()
        instance.parent_id = parent.orchestrationInstance.instanceId
    if not request.HasField("scheduledStartTimestamp"):
        return instance, None
    instance.scheduled = bounded_micros_of(request.scheduledStartTimestamp)
    started.scheduledStartTimestamp.CopyFrom(request.scheduledStartTimestamp)
    if instance.scheduled <= now:
        return instance, None
    timer = ScheduledTimer(start_row(key), 0, instance.scheduled, b"")
    instance.timers[timer.row] = 0
    return instance, timer


def new_events(
    instance: Instance, now: int, *, most_bytes: int | None = None
) -> list[pb.HistoryEvent]:
    """The batch that the next turn gets: a fresh ``orchestratorStarted``, then all that waits.

    Its time is what the orchestrator sees as the current time, so it is never earlier than the
    one before.

    Args:
        most_bytes: About how large the batch may be; the rest waits for the turn after.  One event
            is always in it.
    """
    started = pb.HistoryEvent(eventId=-1)
    set_micros(started.timestamp, max(now, instance.last_started))
    started.orchestratorStarted.SetInParent()
    events = [message.event for message in instance.inbox]
    if most_bytes is not None and len(events) > 1:
        sizes = accumulate(event.ByteSize() for event in events)
        fitting = sum(1 for size in sizes if size <= most_bytes)
        events = events[: max(1, fitting)]
    return [started, *events]


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
        carry_out(instance, outcome, action)
    if instance.is_full and outcome.status == state.RUNNING and outcome.continued is None:
        fail(outcome, TOO_LONG, _TOO_LONG_TEXT.format(instance=instance))
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
    terminated = confirm(outcome, -1).executionTerminated
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


def targets(instance: Instance, response: pb.OrchestratorResponse) -> dict[str, bool]:
    """The other instances that a turn touches; they must be in memory when it is applied.

    Returns:
        Their ids, and for each whether its parent and its descendants are touched too.
    """
    ids: dict[str, bool] = {}
    for action in response.actions:
        kind = action.WhichOneof("orchestratorActionType")
        if kind == "createSubOrchestration":
            ids.setdefault(child_id(instance, action), False)
        elif kind == "sendEvent":
            ids.setdefault(action.sendEvent.instance.instanceId, False)
        elif kind == "terminateOrchestration":
            ids[action.terminateOrchestration.instanceId] = True
        if instance.parent_id is not None and may_end(action):
            ids.setdefault(instance.parent_id, False)
    if instance.parent_id is not None and instance.is_full:
        ids.setdefault(instance.parent_id, False)
    ids.pop(instance.instance_id, None)
    return ids


def next_generation(
    instance: Instance, continuation: Continuation, *, key: int, execution_id: str, now: int
) -> Instance:
    """Make the execution that follows continue-as-new; touch nothing.

    It keeps the id, the custom status, the tags, the parent, the place in a trace and the children.
    Waiting for it are ``executionStarted`` with the new input, the events that the orchestrator
    carried over, and those that arrived meanwhile; answers to the old generation's tasks are not
    among them.
    """
    request = pb.CreateInstanceRequest(
        instanceId=instance.instance_id, name=instance.name, tags=instance.tags
    )
    if continuation.version is not None:
        request.version.value = continuation.version
    if continuation.input is not None:
        request.input.value = continuation.input
    if instance.parent_trace is not None:
        request.parentTraceContext.ParseFromString(instance.parent_trace)
    parent = instance.parent and pb.ParentInstanceInfo.FromString(instance.parent)
    new, _ = create(request, key=key, execution_id=execution_id, now=now, parent=parent or None)
    new.created = instance.created
    new.scheduled = instance.scheduled
    new.generation = instance.generation + 1
    new.custom_status = instance.custom_status
    new.last_started = instance.last_started
    new.children = instance.children
    new.suspended = instance.suspended
    new.status = state.SUSPENDED if instance.suspended else state.RUNNING
    waiting = [m.event for m in instance.inbox if m.event.WhichOneof("eventType") in _OUTLIVING]
    for number, event in enumerate([*continuation.carried, *waiting], start=1):
        new.inbox.append(Message(key * ROW_SPAN + number, event))
    return new


def answer_of(instance: Instance, now: int) -> pb.HistoryEvent:
    """The event by which a terminal child answers its parent; anything but success is a failure."""
    parent = pb.ParentInstanceInfo.FromString(instance.parent or b"")
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    if instance.status == state.COMPLETED:
        completed = event.subOrchestrationInstanceCompleted
        completed.taskScheduledId = parent.taskScheduledId
        if instance.output is not None:
            completed.result.value = instance.output
        return event
    failed = event.subOrchestrationInstanceFailed
    failed.taskScheduledId = parent.taskScheduledId
    if instance.failure is not None:
        failed.failureDetails.ParseFromString(instance.failure)
    else:
        failed.failureDetails.errorType = CHILD_ENDED
        failed.failureDetails.errorMessage = (
            f"Sub-orchestration '{instance.instance_id}' was terminated."
        )
    return event


def child_refused(task_id: int, child_id: str, now: int) -> pb.HistoryEvent:
    """The event by which a parent learns that its child's id belongs to a live instance."""
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.subOrchestrationInstanceFailed.taskScheduledId = task_id
    details = event.subOrchestrationInstanceFailed.failureDetails
    details.errorType = ALREADY_EXISTS
    details.errorMessage = f"An orchestration instance with id '{child_id}' exists and is not done."
    return event


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
    begun = instance.chunks or instance.generation > 1
    instance.status = state.RUNNING if begun else state.PENDING
    event = pb.HistoryEvent(eventId=-1)
    set_micros(event.timestamp, now)
    event.executionResumed.SetInParent()
    if reason is not None:
        event.executionResumed.input.value = reason
    return event


def _close_turn(outcome: Outcome) -> None:
    confirm(outcome, -1).orchestratorCompleted.SetInParent()
    if outcome.status not in state.TERMINAL:
        return
    completed = confirm(outcome, -1).executionCompleted
    completed.orchestrationStatus = outcome.status  # type: ignore[assignment]  # the stub wants its own int type
    if outcome.output is not None:
        completed.result.value = outcome.output
    if outcome.failure is not None:
        completed.failureDetails.ParseFromString(outcome.failure)
