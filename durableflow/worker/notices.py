"""What plugins are told of turns and activities, put together from what the worker has at hand."""

from __future__ import annotations

from datetime import datetime
from time import monotonic
from typing import Final

from attrs import frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.notifications import (
    ActivityFinished,
    ActivityStarted,
    OrchestrationTrace,
    TurnFinished,
    TurnOutcome,
)
from durableflow.plugins import PluginSet
from durableflow.protocol.failures import from_message
from durableflow.protocol.metadata import ATTEMPT
from durableflow.protocol.times import from_timestamp
from durableflow.protocol.traces import TraceContext
from durableflow.replay import Turn
from durableflow.worker.activity_runner import ActivityJob

_ENDS: Final[dict[int, TurnOutcome]] = {
    pb.ORCHESTRATION_STATUS_COMPLETED: "completed",
    pb.ORCHESTRATION_STATUS_FAILED: "failed",
    pb.ORCHESTRATION_STATUS_TERMINATED: "terminated",
    pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW: "continued_as_new",
}


@frozen
class Execution:
    """What the beginning of its history says about an execution.

    Attributes:
        trace: Where it belongs; None if whoever started it did not trace.
    """

    name: str
    version: str | None
    started_at: datetime
    trace: OrchestrationTrace | None

    @classmethod
    def of(cls, event: pb.HistoryEvent, request: pb.OrchestratorRequest) -> Execution:
        """Read the event that started it."""
        started = event.executionStarted
        trace = None
        if started.HasField("parentTraceContext"):
            parent = TraceContext.of(started.parentTraceContext)
            if parent is not None:
                own = parent.orchestration(request.instanceId, request.executionId.value)
                trace = OrchestrationTrace(parent=parent, own=own)
        started_at = from_timestamp(event.timestamp)
        return cls(started.name, started.version.value or None, started_at, trace)

    def turn_made(
        self, request: pb.OrchestratorRequest, turn: Turn, *, replayed: int, seconds: float
    ) -> TurnFinished:
        """Tell of a turn that was made; with it the execution goes on or has ended."""
        outcome: TurnOutcome = "waiting"
        reason = ""
        actions = len(turn.actions)
        if turn.finished:
            complete = turn.actions[-1].completeOrchestration
            outcome = _ENDS[complete.orchestrationStatus]
            actions -= 1
            if complete.HasField("failureDetails"):
                failure = complete.failureDetails
                reason = f"{failure.errorType}: {failure.errorMessage}"
        return self._finished(
            request, outcome, reason, actions=actions, replayed=replayed, seconds=seconds
        )

    def turn_given_back(
        self, request: pb.OrchestratorRequest, reason: str, *, is_parked: bool, seconds: float
    ) -> TurnFinished:
        """Tell of a turn that could not be made."""
        outcome: TurnOutcome = "parked" if is_parked else "given_back"
        return self._finished(request, outcome, reason, actions=0, replayed=0, seconds=seconds)

    def _finished(
        self,
        request: pb.OrchestratorRequest,
        outcome: TurnOutcome,
        reason: str,
        *,
        actions: int,
        replayed: int,
        seconds: float,
    ) -> TurnFinished:
        return TurnFinished(
            instance_id=request.instanceId,
            execution_id=request.executionId.value,
            name=self.name,
            version=self.version,
            time=from_timestamp(request.newEvents[0].timestamp),
            outcome=outcome,
            reason=reason,
            replayed_events=replayed,
            new_events=len(request.newEvents),
            actions=actions,
            seconds=seconds,
            started_at=self.started_at,
            trace=self.trace,
        )


class ActivityNotices:
    """Tells plugins when activities begin and end; called where they run."""

    def __init__(self, plugins: PluginSet) -> None:
        self._plugins = plugins
        hooks = ("activity_started", "activity_finished")
        self._wanted = any(plugins.implement(hook) for hook in hooks)

    def begin(self, job: ActivityJob) -> None:
        """Tell that a job begins."""
        if not self._wanted:
            return
        job.notice = _started(job.request)
        job.begun = monotonic()
        self._plugins.activity_started(job.notice)

    def end(self, job: ActivityJob) -> None:
        """Tell that a job that has begun has ended."""
        if job.notice is None:
            return
        failure = None if job.failure is None else from_message(job.failure)
        self._plugins.activity_finished(
            ActivityFinished(started=job.notice, seconds=monotonic() - job.begun, failure=failure)
        )


def _started(request: pb.ActivityRequest) -> ActivityStarted:
    tags = dict(request.tags)
    attempt = tags.pop(ATTEMPT, "")
    has_trace = request.HasField("parentTraceContext")
    return ActivityStarted(
        instance_id=request.orchestrationInstance.instanceId,
        execution_id=request.orchestrationInstance.executionId.value,
        task_id=request.taskId,
        name=request.name,
        version=request.version.value or None,
        attempt=int(attempt) if attempt.isdecimal() else 1,
        tags=tags,
        trace=TraceContext.of(request.parentTraceContext) if has_trace else None,
    )
