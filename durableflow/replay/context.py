"""What an orchestrator function receives first: ``OrchestrationContext``."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar, overload

from durableflow.errors import OrchestratorError
from durableflow.protocol.patches import EARLIEST_TIMER
from durableflow.protocol.times import (
    LATEST_MICROS,
    datetime_of,
    micros_of_datetime,
    micros_of_timedelta,
)
from durableflow.registry import OrchestratorDefinition
from durableflow.replay import misuse
from durableflow.replay.callees import Callees
from durableflow.replay.calls import Calls, check_text, input_type
from durableflow.replay.journal import Journal
from durableflow.replay.loggers import ReplaySafeLogger
from durableflow.replay.patches import is_patched
from durableflow.replay.record import Record
from durableflow.replay.requests import Continuation, EventWait, SentEvent, Timer
from durableflow.replay.sources import call_site
from durableflow.replay.tasks import CancellableDeferred, CancellableTask
from durableflow.versioning import Version

T = TypeVar("T")

_UUIDS: Final = uuid.UUID("9e952958-5e33-4daf-827f-2fa12937b875")


class OrchestrationContext(Calls):
    """How an orchestrator asks for things and learns about itself.

    It may be used only by the orchestrator function, while that runs.  All that it tells is the
    same in each replay.
    """

    def __init__(
        self,
        definition: OrchestratorDefinition,
        journal: Journal,
        callees: Callees,
        record: Record,
    ) -> None:
        super().__init__(journal, callees, record)
        self._definition = definition
        self._uuids = 0

    @property
    def instance_id(self) -> str:
        """The id of this orchestration instance."""
        return self._journal.instance_id

    @property
    def parent_instance_id(self) -> str | None:
        """The id of the orchestration that started this one; None if none did."""
        return self._journal.parent_instance_id

    @property
    def name(self) -> str:
        """The name under which the orchestration was started."""
        return self._journal.name

    @property
    def version(self) -> Version:
        """The version with which it was started; empty, and false, without one."""
        return Version(self._journal.version)

    @property
    def is_replaying(self) -> bool:
        """Whether the code now runs through what it has done before."""
        return self._journal.replaying

    @property
    def current_utc_datetime(self) -> datetime:
        """The time at which this turn began: the clock of orchestrators.  Aware, in UTC."""
        return datetime_of(self._journal.now)

    def create_timer(self, fire_at: datetime | timedelta | float) -> CancellableTask[None]:
        """Wait until a time, durably.

        Args:
            fire_at: When, as an aware ``datetime``, or how long from now, as a ``timedelta`` or in
                seconds.  What lies in the past fires at once.
        """
        origin = call_site()
        journal = self._journal
        if not self._may_ask():
            return CancellableDeferred(journal, "a timer", origin)
        at = self._time_of(fire_at)
        task: CancellableDeferred[None] = CancellableDeferred(journal, "a timer", origin)
        journal.set_timer(Timer(at, partial(task.settle, None), origin, "a timer"))
        return task

    @overload
    def wait_for_external_event(
        self, name: str, *, data_type: type[T], timeout: timedelta | float | None = None
    ) -> CancellableTask[T]: ...
    @overload
    def wait_for_external_event(
        self, name: str, *, timeout: timedelta | float | None = None
    ) -> CancellableTask[Any]: ...
    def wait_for_external_event(
        self, name: str, *, data_type: Any = Any, timeout: timedelta | float | None = None
    ) -> Any:
        """Wait for an event raised by a client or by another orchestration.

        Events that arrive before anybody waits are kept.  Each is given to one wait, in the order
        of arrival; the case of names does not matter.

        Args:
            name: What the event is called.
            data_type: What the event's data is converted to.
            timeout: After this long, a ``timedelta`` or seconds, the task fails with
                ``TimeoutError``; None waits for ever.
        """
        origin = call_site()
        journal = self._journal
        check_text("name", name, required=True)
        what = f"event '{name}'"
        if not self._may_ask():
            return CancellableDeferred(journal, what, origin)
        ends_at = None if timeout is None else self._time_of(timeout)
        task: CancellableDeferred[Any] = CancellableDeferred(journal, what, origin)
        journal.wait_for_event(EventWait(task, name, data_type))
        if ends_at is not None and not task.has_ended:
            patience = timeout if isinstance(timeout, timedelta) else f"{timeout:g} s"
            error = TimeoutError(f"No {what} arrived within {patience}.")
            fail = partial(task.fail, error)
            journal.set_timer(Timer(ends_at, fail, origin, f"the timeout of {what}"))
        return task

    def send_event(self, instance_id: str, event_name: str, *, data: Any = None) -> None:
        """Raise an event in another orchestration instance, once the turn is over.

        It is dropped if there is no such instance, or if that has ended.

        Raises:
            ConversionError: the data cannot travel as JSON.
        """
        origin = call_site()
        check_text("instance_id", instance_id, required=True)
        check_text("event_name", event_name, required=True)
        if self._may_ask():
            journal = self._journal
            text = journal.converter.dumps(data, where=f"data of event '{event_name}'")
            journal.request(SentEvent(instance_id, event_name, text, origin))

    def continue_as_new(
        self, new_input: Any = None, *, save_events: bool = True, new_version: str | None = None
    ) -> None:
        """Start over with another input and an empty history, once the function returns.

        Return at once: what the function returns means nothing then, and it may neither ask for
        anything more nor wait.  If it raises, the instance fails after all.  What it asked for
        before still happens, but nobody waits for the results.

        Args:
            new_input: The input of the next execution, converted now.
            save_events: Hand over the external events that have arrived and that nobody has
                taken; else they are dropped.
            new_version: What the next execution runs; None: the same version.

        Raises:
            ConversionError: the input does not fit, or cannot travel as JSON.
        """
        origin = call_site()
        if not self._may_ask():
            return
        check_text("new_version", new_version)
        if not isinstance(save_events, bool):
            raise OrchestratorError(misuse.not_a_switch("save_events", save_events))
        # Another version may take another input.
        expected = input_type(self._definition, new_input) if new_version is None else Any
        where = f"new input of orchestrator '{self._definition.name}'"
        journal = self._journal
        text = journal.converter.dumps(new_input, expected, where=where)
        journal.continuation = Continuation(text, new_version, save_events, origin)
        journal.in_turn = False

    def patched(self, change_id: str) -> bool:
        """Whether this execution runs with a change of the code; for changing it while it runs.

        Put the new code under ``if ctx.patched("change-id"):`` and leave the old one under
        ``else:``.  Executions that have gone past this place before keep to the old code, all
        others take the new one, and the history records it: in each replay the answer is the same.
        The first answer holds for the whole execution, wherever it is asked for again; a new one
        begins with each ``continue_as_new``.

        When no instance from before the change is left, delete the old code and the question.
        Histories that record it may remain.

        Args:
            change_id: Names the change; never used for another change of this orchestrator.
        """
        origin = call_site()
        check_text("change_id", change_id, required=True)
        if not self._may_ask():
            return False
        return is_patched(change_id, self._journal, self._record, origin)

    def set_custom_status(self, status: Any) -> None:
        """Show something about the progress to clients; None clears it.

        Raises:
            ConversionError: it cannot travel as JSON.
        """
        journal = self._journal
        if journal.continuation is not None or self._may_ask():
            journal.custom_status = journal.converter.dumps(status, where="custom status")

    def new_uuid(self) -> str:
        """Return a new UUID, the same in each replay."""
        journal = self._journal
        if journal.continuation is None:
            self._may_ask()
        self._uuids += 1
        seed = (journal.instance_id, journal.execution_id, str(journal.now), str(self._uuids))
        return str(uuid.uuid5(_UUIDS, "\n".join(seed)))

    def create_replay_safe_logger(
        self, logger: logging.Logger
    ) -> logging.LoggerAdapter[logging.Logger]:
        """Wrap a logger so that it logs nothing while the code is replaying."""
        if not hasattr(logger, "isEnabledFor"):
            raise OrchestratorError(misuse.not_a_logger(logger))
        return ReplaySafeLogger(logger, self._journal)

    def _time_of(self, time: datetime | timedelta | float) -> int:
        """Return a time, or the end of a duration that begins now, in microseconds."""
        if isinstance(time, datetime):
            return max(micros_of_datetime(time), EARLIEST_TIMER)
        if isinstance(time, bool):
            raise OrchestratorError(misuse.not_a_time(time))
        try:
            duration = time if isinstance(time, timedelta) else timedelta(seconds=time)
        except (TypeError, ValueError, OverflowError):
            raise OrchestratorError(misuse.not_a_time(time)) from None
        micros = self._journal.now + micros_of_timedelta(duration)
        if micros > LATEST_MICROS:
            raise OrchestratorError(misuse.too_late(duration))
        return max(micros, EARLIEST_TIMER)
