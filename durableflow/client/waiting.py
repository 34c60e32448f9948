"""Why an instance has not come as far as somebody waited for; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.core import ClientCore
from durableflow.client.models import OrchestrationState, OrchestrationStatus
from durableflow.client.outstanding import outstanding
from durableflow.spelling import similar_names


def why_not_yet(
    state: OrchestrationState[Any],
    core: ClientCore,
    history: Sequence[pb.HistoryEvent] = (),
) -> str:
    """Say what an instance waits for, and what to do, as far as this side can know.

    Args:
        history: Its events; empty if they are not known.

    Returns:
        Text without a full stop at its end.
    """
    status = state.runtime_status
    if state.parked is not None:
        return f"{status}: parked. {state.parked.message.removesuffix('.')}"
    if status is OrchestrationStatus.SUSPENDED:
        return f"{status}: somebody suspended it; resume_orchestration lets it go on"
    if status is not OrchestrationStatus.PENDING:
        waits_for = "activities, timers or events; get_orchestration_history shows them"
        if history:
            waits_for = outstanding(history, core.registry)
        since = f"{state.last_updated_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{status}: since {since} it has waited for {waits_for}"
    versions = core.registry.orchestrator_versions(state.name)
    runs_here = state.version in versions or None in versions
    what = f"{state.name} version '{state.version}'" if state.version else state.name
    if state.scheduled_start_at is not None:
        reason = f"it was to start at {state.scheduled_start_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{status}: {reason}, and then needs a worker that runs {what}"
    if runs_here and core.serves_here():
        return f"{status}: the worker in this process runs {what} but has not come to it"
    reason = f"{status}: no worker connected to {core.hub.description} runs {what}"
    if runs_here:
        return f"{reason}. This app can: start it with app.run()"
    if versions:
        known = ", ".join("none" if v is None else f"'{v}'" for v in versions)
        return f"{reason}; this app has only {known}"
    similar = similar_names(state.name, [known.name for known in core.registry.orchestrators()])
    return f"{reason}; this app has {similar}" if similar else reason
