"""Replays stored histories against an app's code: ``replay``, ``replay_each``.

Nothing is run but orchestrators, as a worker does when it has lost their sessions; no task hub is
opened.  Code that does anything else than the history says would be parked in production.  Payloads
that codecs of the app's plugins made are decoded, which may read from where they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from durableflow._proto import task_hub_pb2 as pb
from durableflow.app import App
from durableflow.client import HistoryEvent
from durableflow.definitions import label_of
from durableflow.errors import NonDeterminismError, UsageError
from durableflow.hub.payloads import decode
from durableflow.hub.running_turn import running_turns
from durableflow.plan import Plan
from durableflow.protocol.payload_codec import PayloadCodec
from durableflow.protocol.payload_fields import payload_slots
from durableflow.registry import OrchestratorDefinition
from durableflow.replay import Callees, Diverged, Session, Turn
from durableflow.testing.histories import History, event_of, read_history
from durableflow.versioning import Run, VersionRequest

Source: TypeAlias = str | Path | History | Sequence[HistoryEvent]
"""A file, a folder of ``.json`` files, a history that was read, or one that a client returned."""


@attrs.frozen(kw_only=True)
class Replayed:
    """What came of one history.

    Attributes:
        source: Where the history comes from.
        orchestrator: Whose it is, for people; "" if the history does not say.
        events: How many events it has.
        problem: What the history says and what the code does instead; None if they fit.
    """

    source: str
    orchestrator: str
    events: int
    problem: str | None


def replay(app: App, histories: Source | Iterable[Source]) -> None:
    """Replay histories against an app's code.

    Args:
        app: Whose code it is.
        histories: One source, or several; an empty folder is a mistake.

    Raises:
        NonDeterminismError: code and history do not fit, or nothing here runs the instance; says
            so for every history that it concerns.
        UsageError: a source is no history, or there is none.
    """
    problems = [done for done in replay_each(app, histories) if done.problem is not None]
    if problems:
        texts = (f"{done.source}: {done.problem}" for done in problems)
        raise NonDeterminismError("\n".join(texts))


def replay_each(app: App, histories: Source | Iterable[Source]) -> Iterator[Replayed]:
    """Replay histories one after another, and tell of each.

    Raises:
        UsageError: a source is no history, or there is none.
    """
    plan = app.plan()
    found = False
    plan.plugins.app_opened(app)
    try:
        for history in _all(histories):
            found = True
            yield _replay(history, plan)
    finally:
        plan.plugins.app_closed(app)
    if not found:
        raise UsageError("There is no history to replay. Name files, or a folder with some.")


def _all(histories: Source | Iterable[Source]) -> Iterator[History]:
    if isinstance(histories, History):
        yield histories
    elif isinstance(histories, str | Path):
        path = Path(histories)
        yield from map(read_history, sorted(path.glob("*.json")) if path.is_dir() else [path])
    else:
        events = []
        for item in histories:
            if isinstance(item, HistoryEvent):
                events.append(item)
            else:
                yield from _all(item)
        if events:
            yield History("a client's history", tuple(map(event_of, events)))


def _replay(history: History, plan: Plan) -> Replayed:
    beginning = history.beginning
    label = problem = ""
    if beginning is None:
        problem = "It has no executionStarted event, so it does not say whose history it is."
    else:
        label = label_of("orchestrator", beginning.name, beginning.version.value or None)
        definition = _resolve(beginning, plan)
        if isinstance(definition, str):
            problem = definition
        else:
            instance_id = beginning.orchestrationInstance.instanceId
            events, problem = _decoded(history.events, plan.codecs, instance_id)
            problem = problem or _compare(events, _session(definition, plan))
    return Replayed(
        source=history.source,
        orchestrator=label,
        events=len(history.events),
        problem=problem or None,
    )


def _resolve(beginning: pb.ExecutionStartedEvent, plan: Plan) -> OrchestratorDefinition | str:
    """Return the function that a worker would run, or why there is none."""
    name = beginning.name
    request = VersionRequest(
        name, beginning.version.value or None, beginning.orchestrationInstance.instanceId
    )
    answer = plan.plugins.resolve_version(request, plan.registry.orchestrator_versions(name))
    if not isinstance(answer, Run):
        return answer.reason
    definition = plan.registry.find_orchestrator(name, answer.version)
    return definition or f"The routing chose version {answer.version!r}, which is not here."


def _decoded(
    events: Sequence[pb.HistoryEvent], codecs: Sequence[PayloadCodec], instance_id: str
) -> tuple[Sequence[pb.HistoryEvent], str]:
    """Return a history with its payloads decoded, or say why they cannot be."""
    if not codecs:
        return events, ""
    decoded = [pb.HistoryEvent.FromString(event.SerializeToString()) for event in events]
    for slot in [slot for event in decoded for slot in payload_slots(event, replayed_only=True)]:
        try:
            slot.text = decode(slot, reversed(codecs), instance_id)
        except Exception as error:  # noqa: BLE001  # whatever a codec raises
            return events, f"The {slot.field.what} cannot be read: {error}"
    return decoded, ""


def _session(definition: OrchestratorDefinition, plan: Plan) -> Session:
    return Session(definition, converter=plan.converter, callees=Callees(plan.registry))


def _compare(events: Sequence[pb.HistoryEvent], session: Session) -> str:
    """Let code go through a history; return what does not fit, "" if all does."""
    end = next((e.executionCompleted for e in events if e.HasField("executionCompleted")), None)
    past = list(events)
    if end is None:
        # As if the next turn began: then there must be nothing more that the code asks for.
        past.append(pb.HistoryEvent(eventId=-1, timestamp=events[-1].timestamp))
        past[-1].orchestratorStarted.SetInParent()
    with running_turns():
        turn = session.turn(past, ())
        doing = session.doing
        session.close()
    if isinstance(turn, Diverged):
        return turn.reason
    return "" if end is None else _compare_end(end, turn, doing)


def _compare_end(end: pb.ExecutionCompletedEvent, turn: Turn, doing: str) -> str:
    recorded = _status(end.orchestrationStatus)
    if not turn.finished:
        # Clients and engines end instances too, without a word to the code.
        by_code = end.orchestrationStatus != pb.ORCHESTRATION_STATUS_TERMINATED
        return f"The history ends as {recorded}, but {doing}." if by_code else ""
    *asked, last = turn.actions
    if asked:
        more = ", ".join(f"{_described(action)} (number {action.id})" for action in asked)
        return f"The history ends as {recorded}, but before its end the code now also {more}."
    got = _status(last.completeOrchestration.orchestrationStatus)
    if got == recorded:
        return ""
    failure = last.completeOrchestration.failureDetails
    why = f": {failure.errorType}: {failure.errorMessage}" if failure.errorType else ""
    return f"The history ends as {recorded}, but the code now ends as {got}{why}."


def _described(action: pb.OrchestratorAction) -> str:
    kind = action.WhichOneof("orchestratorActionType")
    if kind == "scheduleTask":
        return f"calls activity '{action.scheduleTask.name}'"
    if kind == "createSubOrchestration":
        return f"starts sub-orchestration '{action.createSubOrchestration.name}'"
    if kind == "sendEvent":
        return f"sends event '{action.sendEvent.name}'"
    return "creates a timer" if kind == "createTimer" else f"asks for {kind}"


def _status(status: pb.OrchestrationStatus) -> str:
    return pb.OrchestrationStatus.Name(status).removeprefix("ORCHESTRATION_STATUS_")
