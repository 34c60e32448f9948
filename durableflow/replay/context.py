"""What an orchestrator function receives first: ``OrchestrationContext``."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, overload

from durableflow.errors import OrchestratorError
from durableflow.protocol.times import (
    LATEST_MICROS,
    datetime_of,
    micros_of_datetime,
    micros_of_timedelta,
)
from durableflow.registry import ABSENT, ActivityDefinition
from durableflow.replay import misuse
from durableflow.replay.callees import Callees
from durableflow.replay.journal import ActivityCall, EventWait, Journal, Timer
from durableflow.replay.loggers import ReplaySafeLogger
from durableflow.replay.record import Record
from durableflow.replay.sources import call_site
from durableflow.replay.tasks import CancellableDeferred, CancellableTask, Deferred, Task
from durableflow.retry import RetryPolicy
from durableflow.versioning import Version

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 -- stands for the input
O = TypeVar("O")  # noqa: E741 -- stands for the output

if TYPE_CHECKING:
    from durableflow.worker.context import ActivityContext

    # mypy works out a type variable from a protocol before it looks at an argument whose type
    # contains a callable.  So the activity alone says what its input is, and `[1, 2]` is accepted
    # where it takes `list[float]`.  The callable itself is never given: nobody has a `_Nobody`.
    I_contra = TypeVar("I_contra", contravariant=True)
    O_co = TypeVar("O_co", covariant=True)

    class _Activity(Protocol[I_contra, O_co]):
        def __call__(self, ctx: ActivityContext, input: I_contra, /) -> O_co: ...

    class _WithoutContext(Protocol[I_contra, O_co]):
        def __call__(self, input: I_contra, /) -> O_co: ...

    class _Nobody: ...

    _Fitting: TypeAlias = I | Callable[[_Nobody], I]

_UUIDS: Final = uuid.UUID("9e952958-5e33-4daf-827f-2fa12937b875")


class OrchestrationContext:
    """How an orchestrator asks for things and learns about itself.

    It may be used only by the orchestrator function, while that runs.  All that it tells is the
    same in each replay.
    """

    def __init__(self, journal: Journal, callees: Callees, record: Record) -> None:
        self._journal = journal
        self._callees = callees
        self._record = record
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

    @overload
    def call_activity(
        self,
        activity: str,
        *,
        input: Any = None,
        return_type: type[T],
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[T]: ...
    @overload
    def call_activity(
        self,
        activity: str,
        *,
        input: Any = None,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[Any]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[ActivityContext], Coroutine[Any, Any, O]],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[ActivityContext], O],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[ActivityContext, None], Coroutine[Any, Any, O]],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[ActivityContext, None], O],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[], Coroutine[Any, Any, O]],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[[], O],
        *,
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: _Activity[I, Coroutine[Any, Any, O]],
        *,
        input: _Fitting[I],
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: _Activity[I, O],
        *,
        input: _Fitting[I],
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: _WithoutContext[I, Coroutine[Any, Any, O]],
        *,
        input: _Fitting[I],
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    @overload
    def call_activity(
        self,
        activity: _WithoutContext[I, O],
        *,
        input: _Fitting[I],
        retry_policy: RetryPolicy | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task[O]: ...
    def call_activity(
        self,
        activity: Any,
        *,
        input: Any = None,
        return_type: Any = Any,
        retry_policy: RetryPolicy | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Any:
        """Run an activity.

        Args:
            activity: A registered function, or the name of one that lives elsewhere.
            input: Its input, converted now.
            return_type: For a name: what the result is converted to.
            retry_policy: None: the policy that the function was registered with, if any.
            tags: Texts that travel with the call.

        Raises:
            NotRegisteredError: the function is not an activity of this app, or the name is
                certainly a mistake.
            ConversionError: the input does not fit, or cannot travel as JSON.
        """
        origin = call_site()
        journal = self._journal
        if isinstance(activity, str):
            name, version, expected = activity, None, Any
        else:
            definition = self._callees.of_function(activity)
            name, version = definition.name, definition.version
            expected = _input_type(definition, input)
            return_type = definition.output_type
            retry_policy = retry_policy or definition.retry_policy
        what = f"activity '{name}'"
        if not (journal.in_turn or self._may_ask()):
            return Deferred(journal, what, origin)
        if isinstance(activity, str):
            self._callees.check_name(name, journal, self._record)
        text = journal.converter.dumps(input, expected, where=f"input of {what}")
        task: Deferred[Any] = Deferred(journal, what, origin)
        journal.call(ActivityCall(task, name, version, text, return_type, retry_policy, tags))
        return task

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
            data_type: What the event's data is converted to.
            timeout: After this long, a ``timedelta`` or seconds, the task fails with
                ``TimeoutError``; None waits for ever.
        """
        origin = call_site()
        journal = self._journal
        what = f"event '{name}'"
        if not self._may_ask():
            return CancellableDeferred(journal, what, origin)
        ends_at = None if timeout is None else self._time_of(timeout)
        task: CancellableDeferred[Any] = CancellableDeferred(journal, what, origin)
        journal.wait_for_event(EventWait(task, name, data_type))
        if ends_at is not None and not task.is_complete:
            patience = timeout if isinstance(timeout, timedelta) else f"{timeout:g} s"
            error = TimeoutError(f"No {what} arrived within {patience}.")
            fail = partial(task.fail, error)
            journal.set_timer(Timer(ends_at, fail, origin, f"the timeout of {what}"))
        return task

    def set_custom_status(self, status: Any) -> None:
        """Show something about the progress to clients; None clears it.

        Raises:
            ConversionError: it cannot travel as JSON.
        """
        if self._may_ask():
            self._journal.custom_status = self._journal.converter.dumps(
                status, where="custom status"
            )

    def new_uuid(self) -> str:
        """Return a new UUID, the same in each replay."""
        self._may_ask()
        journal = self._journal
        self._uuids += 1
        seed = (journal.instance_id, journal.execution_id, str(journal.now), str(self._uuids))
        return str(uuid.uuid5(_UUIDS, "\n".join(seed)))

    def create_replay_safe_logger(
        self, logger: logging.Logger
    ) -> logging.LoggerAdapter[logging.Logger]:
        """Wrap a logger so that it logs nothing while the code is replaying."""
        return ReplaySafeLogger(logger, self._journal)

    def _time_of(self, time: datetime | timedelta | float) -> int:
        """Return a time, or the end of a duration that begins now, in microseconds."""
        if isinstance(time, datetime):
            return micros_of_datetime(time)
        duration = time if isinstance(time, timedelta) else timedelta(seconds=time)
        micros = self._journal.now + micros_of_timedelta(duration)
        if micros > LATEST_MICROS:
            raise OrchestratorError(misuse.too_late(duration))
        return max(micros, 0)

    def _may_ask(self) -> bool:
        """Whether what is asked for now counts; it does not while the session is being closed.

        Raises:
            OrchestratorError: the orchestrator does not run now.
        """
        journal = self._journal
        if journal.in_turn:
            return True
        if journal.evicted:
            return False
        raise OrchestratorError(misuse.used_after_turn(journal.instance_id))


def _input_type(definition: ActivityDefinition, input: Any) -> Any:
    """Return what an activity's input is declared as.

    Raises:
        OrchestratorError: an input is missing, or there must be none.
    """
    parameter = definition.input
    if parameter is None:
        if input is not None:
            raise OrchestratorError(misuse.input_unwanted(definition.label, input))
        return Any
    if input is None and parameter.when_absent() is ABSENT:
        raise OrchestratorError(misuse.input_missing(definition.label, parameter.type))
    return parameter.type
