"""How orchestrators and timeouts are given in a call, and the options of a start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias, TypedDict

from durableflow.client.models import OrchestrationIdReusePolicy
from durableflow.errors import UsageError
from durableflow.replay.references import AnyOrchestrator as AnyOrchestrator
from durableflow.replay.references import InputT as InputT
from durableflow.replay.references import OutputT as OutputT
from durableflow.replay.references import PlainT as PlainT
from durableflow.replay.references import Routine as Routine
from durableflow.replay.references import WithInput as WithInput
from durableflow.replay.references import WithoutInput as WithoutInput

Timeout: TypeAlias = float | timedelta | None

_CENTURY_SECONDS: Final = 3.2e9  # gRPC takes a deadline far beyond that for one in the past


class StartOptions(TypedDict, total=False):
    """The keywords of ``schedule_new_orchestration``; its docstring explains them."""

    instance_id: str | None
    version: str | None
    start_at: datetime | None
    tags: Mapping[str, str] | None
    reuse_id_policy: OrchestrationIdReusePolicy


class RunOptions(StartOptions, total=False):
    """The keywords of ``run_orchestration``."""

    timeout: Timeout


def seconds_of(timeout: Timeout) -> float | None:
    """Read a timeout, given as seconds or as a ``timedelta``; None, or a century, is no timeout.

    Raises:
        UsageError: it is neither, or negative.
    """
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not seconds >= 0:  # not a number is neither
        raise UsageError(f"timeout={timeout!r}: give seconds of zero or more, or a timedelta.")
    return None if seconds > _CENTURY_SECONDS else float(seconds)
