"""What notification hooks are told: ``TurnFinished``, ``ActivityStarted``, ``ActivityFinished``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from durableflow.protocol.failures import FailureDetails
from durableflow.protocol.traces import TraceContext

TurnOutcome: TypeAlias = Literal[
    "waiting", "completed", "failed", "terminated", "continued_as_new", "parked", "given_back"
]


@attrs.frozen(kw_only=True)
class OrchestrationTrace:
    """Where in a trace an orchestration belongs.

    Attributes:
        parent: What started it.
        own: Its own span, which its activities and sub-orchestrations are told as their parent.
    """

    parent: TraceContext
    own: TraceContext


@attrs.frozen(kw_only=True)
class TurnFinished:
    """A worker has made one turn of an orchestration, or has given it up.

    After a crash a turn may be made again, so what counts turns may count one twice.

    Attributes:
        name: The orchestrator's name.
        version: The instance's version; None if it has none.
        time: The orchestrator's own time in this turn, in UTC.
        outcome: ``waiting``: it goes on when something happens; ``parked``: set aside, since no
            code here fits; ``given_back``: it comes again.
        reason: Why it failed, or was parked or given back; "" otherwise.
        replayed_events: How many events had to be gone through again.
        new_events: How many brought it here.
        actions: How much it asked for: activities, timers and the like.
        seconds: How long it took.
        started_at: When this execution of the instance began, in UTC.
        trace: Where it belongs; None if whoever started it did not trace, or no plugin does here.
    """

    instance_id: str
    execution_id: str
    name: str
    version: str | None
    time: datetime
    outcome: TurnOutcome
    reason: str = ""
    replayed_events: int
    new_events: int
    actions: int
    seconds: float
    started_at: datetime
    trace: OrchestrationTrace | None = None


@attrs.frozen(kw_only=True)
class ActivityStarted:
    """A worker begins to run an activity.

    Attributes:
        instance_id: The orchestration instance that called.
        task_id: The number of the call within its execution.
        version: The version that was asked for; None if none was.
        attempt: How often the call has been tried, this time included.
        tags: The tags of the call.
        trace: What called; None if that is not traced.
    """

    instance_id: str
    execution_id: str
    task_id: int
    name: str
    version: str | None
    attempt: int
    tags: Mapping[str, str]
    trace: TraceContext | None = None


@attrs.frozen(kw_only=True)
class ActivityFinished:
    """A worker has run an activity to its end.

    Attributes:
        started: What was told at its start.
        seconds: How long it took.
        failure: Why it failed; None if it did not.
    """

    started: ActivityStarted
    seconds: float
    failure: FailureDetails | None
