"""Why an instance has not come as far as somebody waited for: ``why_not_yet``.  Pure."""

from __future__ import annotations

from typing import Any, Final

from durableflow.client.core import ClientCore
from durableflow.client.models import OrchestrationState, OrchestrationStatus
from durableflow.client.outstanding import Outstanding
from durableflow.client.takers import Takers
from durableflow.routing import Run, VersionRequest
from durableflow.spelling import similar_names

_MOST_NAMES: Final = 3


def why_not_yet(
    state: OrchestrationState[Any],
    core: ClientCore,
    waits_for: Outstanding | None = None,
    takers: Takers | None = None,
    *,
    continues: bool = False,
) -> str:
    """Say what an instance waits for, and what to do, as far as this side can know.

    Args:
        waits_for: What its history shows; None if that is not known.
        takers: Which work its hub's workers take; None if that is not known.
        continues: It was seen to continue as new at once.

    Returns:
        Text without a full stop at its end.
    """
    status = state.runtime_status
    takers = takers or Takers()
    if state.parked is not None:
        return f"{status}: parked. {state.parked.message.removesuffix('.')}"
    if status is OrchestrationStatus.SUSPENDED:
        return f"{status}: somebody suspended it; resume_orchestration lets it go on"
    runs = takers.run_orchestrator(state.name, state.version or "")
    if status is OrchestrationStatus.PENDING or runs is False:
        return f"{status}: {_why_no_turn(state, core, runs)}"
    since = f"{state.last_updated_at:%Y-%m-%d %H:%M:%S} UTC"
    if continues:
        return (
            f"{status}: it continues as new again and again, the last time seen at {since}. To end, "
            "it must return without ctx.continue_as_new; else let it wait for a timer or an event "
            "before that"
        )
    if waits_for is not None and not waits_for.has_begun:
        return f"{status}: since {since} its next turn has been due, or a worker has been making it"
    if waits_for is None:
        what = "activities, timers or events; get_orchestration_history shows them"
    else:
        what = _described(waits_for, core, takers)
    return f"{status}: since {since} it has waited for {what}"


def _why_no_turn(state: OrchestrationState[Any], core: ClientCore, runs: bool | None) -> str:
    versions = core.registry.orchestrator_versions(state.name)
    request = VersionRequest(state.name, state.version, state.instance_id)
    runs_here = isinstance(core.plugins.resolve_version(request, versions), Run)
    what = f"{state.name} version '{state.version}'" if state.version else state.name
    if state.runtime_status is OrchestrationStatus.PENDING and state.scheduled_start_at is not None:
        reason = f"it was to start at {state.scheduled_start_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{reason}, and then needs a worker that runs {what}"
    if runs_here and core.serves_here():
        return f"the worker in this process runs {what} but has not come to it"
    if runs:
        return f"a worker connected to {core.hub.description} runs {what} but has not come to it"
    verb = "runs" if runs is False else "seems to run"
    reason = f"no worker connected to {core.hub.description} {verb} {what}"
    if runs_here:
        return f"{reason}. This app can: start it with app.run()"
    if versions:
        known = ", ".join("none" if v is None else f"'{v}'" for v in versions)
        return f"{reason}; this app has only {known}"
    similar = similar_names(state.name, [d.name for d in core.registry.orchestrators()])
    return f"{reason}; this app has {similar}" if similar else reason


def _described(waits_for: Outstanding, core: ClientCore, takers: Takers) -> str:
    """Return text that goes on after "it has waited for"."""

    def is_stuck(activity: tuple[str, str]) -> tuple[bool, bool]:
        return takers.run_activity(*activity) is False, not _has(core, *activity)

    # What nobody runs comes first, and then what this app lacks: most often it is misspelt.
    activities = sorted(waits_for.activities, key=is_stuck, reverse=True)
    texts = [_activity(*each, core, takers) for each in activities[:_MOST_NAMES]]
    if len(activities) > _MOST_NAMES:
        texts.append(f"{len(activities) - _MOST_NAMES} activities more")
    texts += [
        f"sub-orchestration '{name}', instance '{instance_id}'"
        for name, instance_id in waits_for.children[:_MOST_NAMES]
    ]
    if len(waits_for.children) > _MOST_NAMES:
        texts.append(f"{len(waits_for.children) - _MOST_NAMES} sub-orchestrations more")
    if waits_for.next_timer is not None:
        texts.append(f"a timer that fires at {waits_for.next_timer:%Y-%m-%d %H:%M:%S} UTC")
    return "; ".join(texts) or "an event that somebody raises"


def _activity(name: str, version: str, core: ClientCore, takers: Takers) -> str:
    text = f"activity '{name}'" + (f" version '{version}'" if version else "")
    runs = takers.run_activity(name, version)
    is_here = _has(core, name, version)
    if runs or (runs is None and is_here):
        return text
    if runs is None:
        text = f"{text}, which this app does not run"
    else:
        text = f"{text}, which no worker connected to {core.hub.description} runs"
    if is_here:
        return f"{text} (this app can: start it with app.run())"
    known = [definition.name for definition in core.registry.activities()]
    similar = "" if name in known else similar_names(name, known)  # there the version is missing
    return f"{text} (did you mean {similar}?)" if similar else text


def _has(core: ClientCore, name: str, version: str) -> bool:
    return core.registry.find_activity(name, version or None) is not None
