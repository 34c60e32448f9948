"""What each kind of history event means to an execution: ``HANDLERS`` and ``feed``.

| kind                                             | effect                                       |
|--------------------------------------------------|----------------------------------------------|
| orchestratorStarted                              | a turn begins; its time is the time          |
| executionStarted                                 | the code starts with its input               |
| taskScheduled, timerCreated, other confirmations | compared with what the code asked for        |
| taskCompleted, taskFailed, timerFired, the same  | answer a request                             |
| of sub-orchestrations                            |                                              |
| eventRaised                                      | given to who waits for it, or kept           |
| executionSuspended, executionResumed             | answers and events are held in between       |
| executionTerminated                              | the end                                      |

After each event the code goes on if the task that it waits for has ended.  A handler returns None,
or why history and code do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import TaskFailedError
from durableflow.protocol.failures import FailureDetails, from_exception, from_message
from durableflow.protocol.patches import marker_in
from durableflow.protocol.times import LATEST_MICROS, micros_of, micros_of_timedelta
from durableflow.replay.determinism import Diverged, diagnose, unknown_kind
from durableflow.replay.executor import Executor
from durableflow.replay.misuse import as_sentence
from durableflow.replay.requests import ActivityCall, ChildCall, Request, SentEvent, Timer

Handler: TypeAlias = Callable[[Executor, Any], Diverged | None]


def feed(executor: Executor, events: Iterable[pb.HistoryEvent]) -> Diverged | None:
    """Let an execution go through some events, in order."""
    journal = executor.journal
    for position, event in enumerate(events, journal.position + 1):
        journal.position = position
        kind = event.WhichOneof("eventType")
        handler = HANDLERS.get(kind or "")
        if handler is None:
            if kind in IGNORED:
                continue
            return unknown_kind(executor, kind)
        if kind not in HELD:
            diverged = handler(executor, event)
        elif journal.suspended:
            journal.held.append(event)
            continue
        else:
            diverged = handler(executor, event)
            awaited = executor.awaited
            if awaited is not None and awaited.is_complete:
                executor.advance()
        if diverged is not None:
            return diverged
    return None


def _orchestrator_started(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    journal = executor.journal
    journal.now = micros_of(event.timestamp)
    if not journal.unconfirmed and executor.completion is None:
        return None
    # A rewound history lacks the failed calls on purpose: they are requested once more.
    if executor.record.is_rewound:
        return None
    return diagnose(executor, event, next(iter(journal.unconfirmed.values()), None))


def _execution_started(executor: Executor, event: pb.HistoryEvent) -> None:
    started = event.executionStarted
    journal = executor.journal
    if journal.instance_id:
        return
    journal.instance_id = started.orchestrationInstance.instanceId
    journal.execution_id = started.orchestrationInstance.executionId.value
    journal.name = started.name
    journal.version = started.version.value
    journal.is_later_execution = executor.record.is_later_execution
    journal.patch_numbers = executor.record.patch_numbers
    if started.HasField("parentInstance"):
        journal.parent_instance_id = started.parentInstance.orchestrationInstance.instanceId
    executor.start(_text(started, "input"))


def _execution_terminated(executor: Executor, event: pb.HistoryEvent) -> None:
    if executor.completion is None:
        executor.terminate(_text(event.executionTerminated, "input"))


def _execution_suspended(executor: Executor, _: pb.HistoryEvent) -> None:
    executor.journal.suspended = True


def _execution_resumed(executor: Executor, _: pb.HistoryEvent) -> Diverged | None:
    journal = executor.journal
    journal.suspended = False
    held, journal.held = journal.held, []
    # They happen now: each of them, and what it leads to, counts as a part of this event.
    here = journal.position
    for event in held:
        journal.position = here - 1
        diverged = feed(executor, (event,))
        if diverged is not None:
            return diverged
    return None


def _task_scheduled(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    made = executor.journal.unconfirmed.pop(event.eventId, None)
    if isinstance(made, ActivityCall) and made.name == event.taskScheduled.name:
        return None
    return diagnose(executor, event, made)


def _timer_created(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    if _is_marker(executor, event):
        return None
    made = executor.journal.unconfirmed.pop(event.eventId, None)
    return None if isinstance(made, Timer) else diagnose(executor, event, made)


def _child_created(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    made = executor.journal.unconfirmed.pop(event.eventId, None)
    created = event.subOrchestrationInstanceCreated
    if not isinstance(made, ChildCall) or made.name != created.name:
        return diagnose(executor, event, made)
    # What was started then is what another attempt starts, whatever is asked for today.
    made.instance_id = created.instanceId or made.instance_id
    made.version = created.version.value if created.HasField("version") else made.version
    return None


def _event_sent(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    if _is_marker(executor, event):
        return None
    made = executor.journal.unconfirmed.pop(event.eventId, None)
    if isinstance(made, SentEvent) and made.name == event.eventSent.name:
        return None
    return diagnose(executor, event, made)


def _not_asked_for(executor: Executor, event: pb.HistoryEvent) -> Diverged:
    """Meet what no call of today's context can have led to."""
    return diagnose(executor, event, executor.journal.unconfirmed.get(event.eventId))


def _task_completed(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    completed = event.taskCompleted
    journal = executor.journal
    call = journal.calls.pop(completed.taskScheduledId, None)
    if call is None:
        return _unanswerable(executor, event, completed.taskScheduledId)
    # The first look at the text is cheap, and shows nearly always that there is one.
    text = completed.result.value or _text(completed, "result")
    journal.deliver(call.task, text, call.declared, f"result of activity '{call.name}'")
    return None


def _child_completed(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    completed = event.subOrchestrationInstanceCompleted
    journal = executor.journal
    call = journal.children.pop(completed.taskScheduledId, None)
    if call is None:
        return _unanswerable(executor, event, completed.taskScheduledId)
    journal.deliver(call.task, _text(completed, "result"), call.declared, f"result of {call.what}")
    return None


def _task_failed(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    call = executor.journal.calls.pop(event.taskFailed.taskScheduledId, None)
    if call is None:
        return _unanswerable(executor, event, event.taskFailed.taskScheduledId)
    _call_failed(executor, call, event.taskFailed.failureDetails)
    return None


def _child_failed(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    failed = event.subOrchestrationInstanceFailed
    call = executor.journal.children.pop(failed.taskScheduledId, None)
    if call is None:
        return _unanswerable(executor, event, failed.taskScheduledId)
    _call_failed(executor, call, failed.failureDetails)
    return None


def _call_failed(
    executor: Executor, call: ActivityCall | ChildCall, failure: pb.TaskFailureDetails
) -> None:
    """Try a call again, or let its task fail."""
    journal = executor.journal
    details = from_message(failure)
    delay = problem = None
    try:
        delay = executor.retries.delay(journal, call, details)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 -- the policy's `retry_on` is user code
        problem = from_exception(error)
    if delay is not None:
        at = min(journal.now + micros_of_timedelta(delay), LATEST_MICROS)
        again = partial(journal.call_again, call)
        journal.set_timer(Timer(at, again, call.origin, f"the retry timer of {call.what}"))
        return
    task_failure = TaskFailedError(_failure(call, details), details)
    if problem is not None:
        task_failure.add_note(
            f"It is not tried again: `retry_on` raised {problem.error_type}: {problem.message}"
        )
    call.task.fail(task_failure)


def _timer_fired(executor: Executor, event: pb.HistoryEvent) -> Diverged | None:
    timer_id = event.timerFired.timerId
    if timer_id in executor.journal.patch_numbers:
        return None
    timer = executor.journal.timers.pop(timer_id, None)
    if timer is None:
        return _unanswerable(executor, event, timer_id)
    timer.fire()
    return None


def _event_raised(executor: Executor, event: pb.HistoryEvent) -> None:
    executor.journal.raise_event(event)


def _is_marker(executor: Executor, event: pb.HistoryEvent) -> bool:
    """Take note of a marker of ``ctx.patched``, if an event confirms one."""
    marker = marker_in(event)
    if marker is None:
        return False
    executor.journal.patches[marker] = True
    return True


def _unanswerable(executor: Executor, event: pb.HistoryEvent, number: int) -> Diverged | None:
    """Meet an answer that nobody waits for.

    Engines may deliver an answer twice; the second is dropped.  An answer to something that was
    never asked, or to something of another kind, is not.
    """
    journal = executor.journal
    asked: Request | None = (
        journal.calls.get(number) or journal.children.get(number) or journal.timers.get(number)
    )
    if asked is None and number <= journal.last_id:
        return None
    return diagnose(executor, event, asked)


def _failure(call: ActivityCall | ChildCall, details: FailureDetails) -> str:
    attempts = f" after {call.attempts} attempts" if call.attempts > 1 else ""
    message = f": {details.message}" if details.message else ""
    return f"{as_sentence(call.what)} failed{attempts}: {details.error_type}{message}"


def _text(message: Any, field: str) -> str | None:
    """Return a text, or None if it is absent, which an empty one is not."""
    return getattr(message, field).value if message.HasField(field) else None


HANDLERS: Final[dict[str, Handler]] = {
    "executionStarted": _execution_started,
    "executionTerminated": _execution_terminated,
    "executionSuspended": _execution_suspended,
    "executionResumed": _execution_resumed,
    "orchestratorStarted": _orchestrator_started,
    "taskScheduled": _task_scheduled,
    "taskCompleted": _task_completed,
    "taskFailed": _task_failed,
    "timerCreated": _timer_created,
    "timerFired": _timer_fired,
    "eventRaised": _event_raised,
    "subOrchestrationInstanceCreated": _child_created,
    "subOrchestrationInstanceCompleted": _child_completed,
    "subOrchestrationInstanceFailed": _child_failed,
    "eventSent": _event_sent,
    "entityOperationSignaled": _not_asked_for,
    "entityOperationCalled": _not_asked_for,
    "entityOperationCompleted": _not_asked_for,
    "entityOperationFailed": _not_asked_for,
    "entityLockRequested": _not_asked_for,
    "entityLockGranted": _not_asked_for,
    "entityUnlockSent": _not_asked_for,
}

IGNORED: Final = frozenset(
    {
        "orchestratorCompleted",
        "executionCompleted",
        "executionRewound",
        "genericEvent",
        "historyState",
        "continueAsNew",
    }
)

HELD: Final = frozenset(
    {
        "executionStarted",
        "taskCompleted",
        "taskFailed",
        "timerFired",
        "eventRaised",
        "subOrchestrationInstanceCompleted",
        "subOrchestrationInstanceFailed",
        "entityOperationCompleted",
        "entityOperationFailed",
        "entityLockGranted",
    }
)
"""What lets the code go on, and is therefore held while the instance is suspended."""
