"""What notification hooks are told: ``TurnFinished``, ``ActivityStarted``, ``ActivityFinished``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from durableflow.protocol.failures import FailureDetails

TurnOutcome: TypeAlias = Literal[
    "waiting", "completed", "failed", "terminated", "continued_as_new", "parked", "given_back"
]


@attrs.frozen
class TraceContext:
    """Where in a trace something belongs, as the W3C says it.

    Attributes:
        traceparent: Version, trace id, span id and flags in hexadecimal.
        tracestate: What vendors add; "" for nothing.
    """

    traceparent: str
    tracestate: str = ""


@attrs.frozen(kw_only=True)
class TurnFinished:
    """A worker has made one turn of an orchestration, or has given it up.

    After a crash a turn may be made again, so what counts turns may count one twice.

    Attributes:
        name: The orchestrator's name.
        version: The instance's version; None if it has none.
        time: The orchestrator's own time in this turn, in UTC; None if it did not begin.
        outcome: ``waiting``: it goes on when something happens; ``parked``: set aside, since no
            code here fits; ``given_back``: it comes again.
        reason: Why it failed, or was parked or given back; "" otherwise.
        replayed_events: How many events had to be gone through again.
        new_events: How many brought it here.
        actions: How much it asked for: activities, timers and the like.
        seconds: How long it took.
        trace: Where the instance belongs; None if nothing traces.
    """

    instance_id: str
    execution_id: str
    name: str
    version: str | None
    time: datetime | None
    outcome: TurnOutcome
    reason: str = ""
    replayed_events: int
    new_events: int
    actions: int
    seconds: float
    trace: TraceContext | None = None


@attrs.frozen(kw_only=True)
class ActivityStarted:
    """A worker begins to run an activity.

    Attributes:
        instance_id: The orchestration instance that called.
        task_id: The number of the call within its execution.
        version: The version that was asked for; None if none was.
        attempt: How often the call has been tried, this time included.
        tags: The tags of the call.
        trace: Where the call belongs; None if nothing traces.
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
