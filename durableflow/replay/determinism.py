"""The one diagnosis of code that no longer does what its history says: ``diagnose``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.replay.misuse import as_sentence
from durableflow.replay.requests import Request
from durableflow.replay.sources import place_of, waiting_place

if TYPE_CHECKING:
    from durableflow.replay.executor import Executor

_RENAMED: Final = "The call was probably renamed or replaced"
_REORDERED: Final = "Calls were probably added, removed or put in another order"
_REMOVED: Final = (
    "A call was probably removed, or it depends on something that changes from run to run, such "
    "as the clock, random numbers, a global or the environment; read such things in an activity"
)
_ADDED: Final = (
    "A call was probably added, or it depends on something that changes from run to run, such as "
    "the clock, random numbers, a global or the environment; read such things in an activity"
)

_RECORDED: Final = {
    "orchestratorStarted": "begins the next turn",
    "taskScheduled": "scheduled activity '{body.name}'",
    "taskCompleted": "completed activity call {body.taskScheduledId}",
    "taskFailed": "failed activity call {body.taskScheduledId}",
    "timerCreated": "created a timer",
    "timerFired": "fired timer {body.timerId}",
    "subOrchestrationInstanceCreated": "started sub-orchestration '{body.name}'",
    "subOrchestrationInstanceCompleted": "completed sub-orchestration {body.taskScheduledId}",
    "subOrchestrationInstanceFailed": "failed sub-orchestration {body.taskScheduledId}",
    "eventSent": "sent event '{body.name}' to instance '{body.instanceId}'",
}


@frozen
class Diverged:
    """The code and the history do not fit.

    Attributes:
        reason: What the history says, what the code does and where, why, and what to do.
    """

    reason: str


def diagnose(executor: Executor, event: pb.HistoryEvent, made: Request | None) -> Diverged:
    """Compare what the history says with what the code did.

    Args:
        event: The event that does not fit.
        made: What the code asked for in its place; None: nothing.
    """
    position = executor.journal.position
    cause = _cause(event, made)
    return Diverged(
        f"{_subject(executor)}: history event {position} {_recorded(event)}, but "
        f"{doing(executor, made)}. {cause}. {_advice(executor.definition.version)}"
    )


def unknown_kind(executor: Executor, kind: str | None) -> Diverged:
    """Say that the history was written by something newer than this worker."""
    return Diverged(
        f"{_subject(executor)}: history event {executor.journal.position} is of a kind "
        f"({kind or 'not set'}) that this version of durableflow does not know. Upgrade "
        "durableflow in this worker."
    )


def _subject(executor: Executor) -> str:
    label = as_sentence(executor.definition.label)
    return f"{label}, instance '{executor.journal.instance_id}'"


def _recorded(event: pb.HistoryEvent) -> str:
    kind = event.WhichOneof("eventType") or ""
    body: Any = getattr(event, kind)
    text = _RECORDED.get(kind)
    return f"is {kind} {event.eventId}" if text is None else text.format(event=event, body=body)


def doing(executor: Executor, made: Request | None = None) -> str:
    """Say what the code does: what it made, or else what it waits for, or that it has ended."""
    if made is not None:
        return f"the code now {made} ({place_of(made.origin)})"
    if executor.completion is not None:
        return "the code now finishes before that"
    waiting = executor.awaited
    if waiting is None:
        return "the code has not started"
    return f"the code now waits for {waiting.what} ({waiting_place(executor.running)})"


def _cause(event: pb.HistoryEvent, made: Request | None) -> str:
    if event.HasField("orchestratorStarted"):
        return _ADDED
    if made is None:
        return _REMOVED
    return _RENAMED if event.HasField(made.confirmation) else _REORDERED


def _advice(version: str | None) -> str:
    leave = "the function without a version" if version is None else f"version '{version}'"
    return (
        f"Restore the old code, or register the changed code as a new version and leave {leave} "
        "as it was."
    )
