"""From a work item to what is told to the task hub about it: ``TurnRunner``.

A turn ends in one of three outcomes:

    ``Completed``      the orchestrator went on; its actions are the answer
    ``GivenBack``      it could not; the item is abandoned, and comes again later
    ``HistoryNeeded``  nobody here remembers this instance; its history must be read first

A session is used again only if it is beyond doubt that the request continues it.  An engine that
keeps track of sessions leaves the past events out and states a position, ``count:token``: the
length of the stored history and the completion token of the turn that it applied last.  Both must
match.  Where past events are sent, their number must match and the newest events that the session
consumed must be in their place.  A count alone is no guard: an engine that died may have handed
out events that it had not stored.

All of it runs on the orchestrator thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from itertools import chain
from time import monotonic
from typing import Final, TypeAlias

from attrs import define, evolve, frozen

from durableflow._proto import task_hub_pb2 as pb
from durableflow.converter import Converter
from durableflow.errors import CallError, NotRegisteredError, PayloadTooLargeError
from durableflow.plugins import PluginSet
from durableflow.protocol.actions import complete_orchestration
from durableflow.protocol.failures import from_exception
from durableflow.protocol.metadata import POSITION
from durableflow.protocol.sizes import check_payload, check_turn, largest_payload, refused_for_size
from durableflow.protocol.traces import give_parent
from durableflow.registry import OrchestratorDefinition, Registry
from durableflow.replay import Callees, Diverged, Session, Turn
from durableflow.settings import Settings
from durableflow.versioning import Abandon, Fail, VersionRequest
from durableflow.worker.guards import Guard
from durableflow.worker.notices import Execution
from durableflow.worker.payload_log import log_turn
from durableflow.worker.restarts import Restarts
from durableflow.worker.sessions import KeptSession, Key, SessionCache, Tail

logger = logging.getLogger(__name__)

NONDETERMINISM: Final = "nondeterminism"
NO_VERSION: Final = "no-version"
BROKEN_TURN: Final = "broken-turn"
IDLE_SECONDS: Final = 10.0

# Completing is not confirmed by an event, so its action needs no number of its own.
_COMPLETION_ID: Final = -1


@define(eq=False)
class TurnJob:
    """An orchestrator work item.

    Attributes:
        history: The past events, where they had to be read separately.
        execution: What the beginning of the history says; None until that is known.
        replayed: How many past events had to be gone through.
    """

    request: pb.OrchestratorRequest
    token: str
    history: list[pb.HistoryEvent] | None = None
    execution: Execution | None = None
    replayed: int = 0

    @property
    def key(self) -> Key:
        """What sessions are kept by."""
        return self.request.instanceId, self.request.executionId.value


@frozen(eq=False)
class Completed:
    """The turn was made.

    Attributes:
        name: The orchestrator's.
    """

    job: TurnJob
    turn: Turn
    name: str

    def response(self) -> pb.OrchestratorResponse:
        """Make the message that completes the work item."""
        request, turn = self.job.request, self.turn
        response = pb.OrchestratorResponse(
            instanceId=request.instanceId, actions=turn.actions, completionToken=self.job.token
        )
        if turn.custom_status is not None:
            response.customStatus.value = turn.custom_status
        if request.HasField("orchestrationTraceContext"):
            response.orchestrationTraceContext.CopyFrom(request.orchestrationTraceContext)
        return response

    def refused_for_size(self, error: CallError) -> Completed:
        """Return how it ends instead, after the engine did not take it for its size."""
        place, size = largest_payload(self.name, self.turn.actions)
        return evolve(self, turn=failed_turn(refused_for_size(place, size, error)))


@frozen(eq=False)
class GivenBack:
    """The work item is abandoned.

    Attributes:
        kind: Parks the instance under this heading, with the reason; None: it just comes again.
    """

    job: TurnJob
    kind: str | None
    reason: str


@frozen(eq=False)
class HistoryNeeded:
    """The work item must be handed in again with its history."""

    job: TurnJob


Outcome: TypeAlias = Completed | GivenBack | HistoryNeeded


class TurnRunner:
    """Runs turns, one after another, and keeps the sessions between them."""

    def __init__(
        self,
        *,
        registry: Registry,
        callees: Callees,
        converter: Converter,
        plugins: PluginSet,
        settings: Settings,
    ) -> None:
        self._registry = registry
        self._callees = callees
        self._converter = converter
        self._plugins = plugins
        self._tells = plugins.implement("turn_finished")
        self._traces = plugins.implement("resolve_trace_context")
        self._max_payload_bytes = settings.max_payload_bytes
        self._max_message_bytes = settings.max_message_bytes
        self._fail_on_nondeterminism = settings.on_nondeterminism == "fail"
        guards = settings.determinism_guards
        self._guard = None if guards == "off" else Guard(guards)
        self._restarts = Restarts()
        self.sessions = SessionCache(
            most=settings.session_cache_count,
            most_bytes=settings.session_cache_bytes,
            idle_seconds=IDLE_SECONDS,
        )

    def run(self, job: TurnJob) -> Outcome:
        """Make one turn.  Never raises."""
        if not self._tells:
            return self._run_safely(job)
        begun = monotonic()
        outcome = self._run_safely(job)
        self._tell(outcome, monotonic() - begun)
        return outcome

    def _run_safely(self, job: TurnJob) -> Outcome:
        try:
            return self._run(job)
        except BaseException as error:
            # Running an orchestrator.  This thread serves all of them, so nothing that comes out
            # of one, not even SystemExit, may end it.
            logger.exception("A turn of instance '%s' broke", job.request.instanceId)
            # It is shown why the instance stands still, and tried again.
            return GivenBack(job, BROKEN_TURN, f"The turn broke: {type(error).__name__}: {error}")

    def _run(self, job: TurnJob) -> Outcome:
        request = job.request
        position = request.properties[POSITION].string_value if request.properties else ""
        kept = self.sessions.take(job.key)
        if kept is not None and _continues(kept, request, position):
            past: Sequence[pb.HistoryEvent] = ()
            job.execution = kept.execution
        else:
            if kept is not None:
                kept.session.close()
            if job.history is None and _lacks_history(request, position):
                return HistoryNeeded(job)
            past = request.pastEvents if job.history is None else job.history
            if position and position.partition(":")[0] != str(len(past)):
                return GivenBack(job, None, f"{len(past)} past events do not match '{position}'")
            started = _execution_started(past, request.newEvents)
            if started is None:
                return GivenBack(job, None, "the history has no executionStarted event")
            job.execution = Execution.of(started, request)
            job.replayed = len(past)
            found = self._resolve(started.executionStarted, job)
            if not isinstance(found, OrchestratorDefinition):
                return found
            kept = KeptSession(self._new_session(found), found.name, job.token)
            kept.execution = job.execution
        return self._turn(job, kept, past, stated=bool(position))

    def _turn(
        self, job: TurnJob, kept: KeptSession, past: Sequence[pb.HistoryEvent], *, stated: bool
    ) -> Outcome:
        session, request = kept.session, job.request
        start = session.position or len(past)
        try:
            if self._guard is None:
                turn = session.turn(past, request.newEvents)
            else:
                turn = self._guard.watch(partial(session.turn, past, request.newEvents))
        except BaseException:
            session.close()
            raise
        if isinstance(turn, Diverged):
            session.close()
            logger.error("%s", turn.reason)
            return GivenBack(job, NONDETERMINISM, turn.reason)
        trace = None if kept.execution is None else kept.execution.trace
        if trace is not None:
            give_parent(turn.actions, trace.own if self._traces else trace.parent)
        turn = self._within_limits(kept.name, turn)
        log_turn(kept.name, request.instanceId, request.newEvents, turn.actions)
        self._restarts.note(kept.name, request, turn, first=not start)
        if turn.finished:
            session.close()
        else:
            kept.token = job.token
            kept.tail = None if stated else Tail.of(request.newEvents, start)
            self.sessions.put(job.key, kept, monotonic())
        return Completed(job, turn, kept.name)

    def _tell(self, outcome: Outcome, seconds: float) -> None:
        job = outcome.job
        if job.execution is None or isinstance(outcome, HistoryNeeded):
            return
        if isinstance(outcome, Completed):
            notice = job.execution.turn_made(
                job.request, outcome.turn, replayed=job.replayed, seconds=seconds
            )
        else:
            is_parked = outcome.kind is not None
            notice = job.execution.turn_given_back(
                job.request, outcome.reason, is_parked=is_parked, seconds=seconds
            )
        self._plugins.turn_finished(notice)

    def _within_limits(self, name: str, turn: Turn) -> Turn:
        """Return a turn, or, if it cannot be sent for its size, the one that fails instead."""
        limit = self._max_payload_bytes
        place = f"custom status of orchestrator '{name}'"
        try:
            check_turn(
                name, turn.actions, payload_bytes=limit, message_bytes=self._max_message_bytes
            )
            check_payload(turn.custom_status, limit, place=place)
        except PayloadTooLargeError as error:
            return failed_turn(error)
        return turn

    def _new_session(self, definition: OrchestratorDefinition) -> Session:
        return Session(
            definition,
            converter=self._converter,
            callees=self._callees,
            fail_on_nondeterminism=self._fail_on_nondeterminism,
        )

    def _resolve(
        self, started: pb.ExecutionStartedEvent, job: TurnJob
    ) -> OrchestratorDefinition | Completed | GivenBack:
        """Find the function that runs an instance, for as long as its session lives."""
        name = started.name
        version = started.version.value or None
        answer = self._plugins.resolve_version(
            VersionRequest(name, version, job.request.instanceId),
            self._registry.orchestrator_versions(name),
        )
        if isinstance(answer, Fail):
            return Completed(job, failed_turn(NotRegisteredError(answer.reason)), name)
        if isinstance(answer, Abandon):
            return self._park(job, answer.reason)
        definition = self._registry.find_orchestrator(name, answer.version)
        if definition is None:
            return self._park(
                job, f"The routing chose version {answer.version!r} of '{name}', which is not here."
            )
        return definition

    def _park(self, job: TurnJob, reason: str) -> GivenBack:
        logger.warning("Instance '%s' waits: %s", job.request.instanceId, reason)
        return GivenBack(job, NO_VERSION, reason)


def _continues(kept: KeptSession, request: pb.OrchestratorRequest, position: str) -> bool:
    if position:
        return position == f"{kept.session.position}:{kept.token}"
    past = request.pastEvents
    return kept.tail is not None and len(past) == kept.session.position and kept.tail.is_in(past)


def _lacks_history(request: pb.OrchestratorRequest, position: str) -> bool:
    if position:
        return not position.startswith("0:") and not request.pastEvents
    return request.requiresHistoryStreaming


def _execution_started(
    past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]
) -> pb.HistoryEvent | None:
    return next((event for event in chain(past, new) if event.HasField("executionStarted")), None)


def failed_turn(error: Exception) -> Turn:
    """Make the turn that ends an orchestration by a failure that no retry can help."""
    action = complete_orchestration(
        _COMPLETION_ID,
        pb.ORCHESTRATION_STATUS_FAILED,
        failure=from_exception(error, non_retriable=True),
    )
    return Turn(actions=[action], custom_status=None, finished=True)
