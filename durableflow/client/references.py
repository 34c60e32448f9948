"""How an orchestrator is named in a call, for type checkers, and the options of a start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, TypedDict

from durableflow.client.models import OrchestrationIdReusePolicy
from durableflow.replay.references import AnyOrchestrator as AnyOrchestrator
from durableflow.replay.references import InputT as InputT
from durableflow.replay.references import OutputT as OutputT
from durableflow.replay.references import PlainT as PlainT
from durableflow.replay.references import Routine as Routine
from durableflow.replay.references import WithInput as WithInput
from durableflow.replay.references import WithoutInput as WithoutInput

Timeout: TypeAlias = float | timedelta | None


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
