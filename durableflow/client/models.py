"""What clients hand in and get back: ids, states, queries, policies.  No calls happen here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar, overload

import attrs

from durableflow.converter import Converter
from durableflow.errors import OrchestrationFailedError, OrchestrationNotCompletedError, UsageError
from durableflow.protocol.failures import FailureDetails

T = TypeVar("T")
OutputT_co = TypeVar("OutputT_co", covariant=True)


class InstanceId(str, Generic[OutputT_co]):
    """The id of an orchestration instance that knows the type of its output.

    It is a ``str`` and can be stored as one; read back as a plain ``str`` it names the same
    instance, without the type.
    """

    __slots__ = ("output_type",)

    output_type: Any

    def __new__(cls, value: str, output_type: Any = Any) -> InstanceId[OutputT_co]:
        """Make an id; ``output_type`` is what ``get_output`` converts to."""
        self = super().__new__(cls, value)
        self.output_type = output_type
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.output_type)


class OrchestrationStatus(Enum):
    """Where an orchestration instance stands.

    Source: orchestrator_service.proto, OrchestrationStatus.
    """

    RUNNING = 0
    COMPLETED = 1
    CONTINUED_AS_NEW = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    PENDING = 6
    SUSPENDED = 7

    def __str__(self) -> str:
        return self.name

    @property
    def is_terminal(self) -> bool:
        """Whether an instance with this status has ended for good."""
        return self in TERMINAL


TERMINAL: Final = frozenset(
    {
        OrchestrationStatus.COMPLETED,
        OrchestrationStatus.FAILED,
        OrchestrationStatus.CANCELED,
        OrchestrationStatus.TERMINATED,
    }
)


class OrchestrationIdReusePolicy(Enum):
    """What to do when an instance with the id asked for exists already."""

    FAIL = "fail"
    """Raise ``InstanceAlreadyExistsError``, even when the other one has ended."""
    USE_EXISTING = "use_existing"
    """Start nothing and return the id, whatever the other one's status."""
    REPLACE_TERMINAL = "replace_terminal"
    """Replace one that has ended; raise ``InstanceAlreadyExistsError`` for a live one."""
    TERMINATE_AND_REPLACE = "terminate_and_replace"
    """Replace it in any case; a live one is terminated."""


def _check_aware(_query: object, attribute: attrs.Attribute[Any], time: object) -> None:
    if time is not None and (not isinstance(time, datetime) or time.tzinfo is None):
        raise UsageError(
            f"{attribute.name}={time!r}: give a datetime with a time zone, for example with "
            "tzinfo=timezone.utc."
        )


def _statuses(value: Any) -> Any:
    """Make one status, or a list of them, a tuple; leave everything else to the validator."""
    if isinstance(value, OrchestrationStatus):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _check_statuses(_query: object, attribute: attrs.Attribute[Any], value: object) -> None:
    is_fine = isinstance(value, tuple) and all(isinstance(s, OrchestrationStatus) for s in value)
    if value is not None and not is_fine:
        raise UsageError(
            f"{attribute.name}={value!r}: give an OrchestrationStatus, or several of them."
        )


def _check_text(_query: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str | None):
        raise UsageError(f"{attribute.name}={value!r}: give text.")


def _check_count(_query: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{attribute.name}={value!r}: give a whole number of at least 1.")


@attrs.frozen(kw_only=True)
class OrchestrationQuery:
    """Which instances to look for; every condition that is given must hold."""

    created_time_from: datetime | None = attrs.field(default=None, validator=_check_aware)
    """Created at this time or later."""
    created_time_to: datetime | None = attrs.field(default=None, validator=_check_aware)
    """Created before this time."""
    runtime_status: Sequence[OrchestrationStatus] | None = attrs.field(
        default=None, converter=_statuses, validator=_check_statuses
    )
    """In one of these states; None for any."""
    instance_id_prefix: str | None = attrs.field(default=None, validator=_check_text)
    max_instance_count: int = attrs.field(default=100, validator=_check_count)
    """How many instances one reply of the engine holds at most.  All pages are read."""
    fetch_inputs_and_outputs: bool = False


@attrs.frozen
class PurgeInstancesResult:
    """What a purge did."""

    deleted_instance_count: int
    is_complete: bool | None
    """False when it stopped early, None when the engine does not tell."""


@attrs.frozen(kw_only=True)
class OrchestrationState(Generic[OutputT_co]):
    """An orchestration instance as it was when the engine answered.  Times are UTC.

    The ``serialized_…`` payloads are JSON text, None where there is none.
    """

    instance_id: InstanceId[OutputT_co]
    name: str
    version: str | None
    runtime_status: OrchestrationStatus
    created_at: datetime
    last_updated_at: datetime
    completed_at: datetime | None
    scheduled_start_at: datetime | None
    execution_id: str | None
    parent_instance_id: str | None
    tags: Mapping[str, str]
    serialized_input: str | None
    serialized_output: str | None
    serialized_custom_status: str | None
    failure_details: FailureDetails | None
    """What failed, with the chain of its causes; None unless the instance failed."""
    parked: FailureDetails | None
    """Why no worker can go on with this unfinished instance, and what to do; None if none is
    stuck.  A fixed deployment resumes it by itself."""
    fetched_payloads: bool
    """Whether input and output were asked for."""
    converter: Converter = attrs.field(eq=False, repr=False)

    @overload
    def get_output(self) -> OutputT_co: ...
    @overload
    def get_output(self, output_type: type[T]) -> T: ...
    def get_output(self, output_type: Any = None) -> Any:
        """Return what the orchestrator returned.

        Args:
            output_type: Convert to this type instead of the orchestrator's own.

        Raises:
            OrchestrationFailedError: the instance failed or was terminated.
            OrchestrationNotCompletedError: it has not finished.
            ConversionError: the output does not fit the type.
        """
        self.raise_if_failed()
        if self.runtime_status is not OrchestrationStatus.COMPLETED:
            raise OrchestrationNotCompletedError(
                f"{self._subject}, is {self.runtime_status} and has no output yet. "
                "Call wait_for_orchestration_completion first."
            )
        declared = self.instance_id.output_type if output_type is None else output_type
        return self._load(self.serialized_output, declared, "output")

    @overload
    def get_input(self) -> Any: ...
    @overload
    def get_input(self, input_type: type[T]) -> T: ...
    def get_input(self, input_type: Any = Any) -> Any:
        """Return the input; after a continue-as-new that of the newest generation.

        Raises:
            ConversionError: the input does not fit the type.
        """
        return self._load(self.serialized_input, input_type, "input")

    @overload
    def get_custom_status(self) -> Any: ...
    @overload
    def get_custom_status(self, status_type: type[T]) -> T: ...
    def get_custom_status(self, status_type: Any = Any) -> Any:
        """Return what the orchestrator last set as its custom status, None if nothing.

        Raises:
            ConversionError: the status does not fit the type.
        """
        return self.converter.loads(
            self.serialized_custom_status, status_type, where=f"custom status of {self._subject}"
        )

    def raise_if_failed(self) -> None:
        """Do nothing, unless the instance failed or was terminated.

        Raises:
            OrchestrationFailedError: with the chain of failures in its message and ``details``.
        """
        if self.runtime_status is OrchestrationStatus.COMPLETED or not self.is_terminal:
            return
        if self.failure_details is not None:
            reason = f"failed: {_chain(self.failure_details)}"
        elif self.serialized_output is not None:
            reason = f"was {_ENDED[self.runtime_status]} with the output {self.serialized_output}"
        else:
            reason = f"was {_ENDED[self.runtime_status]}"
        raise OrchestrationFailedError(
            f"{self._subject}, {reason}", instance_id=self.instance_id, details=self.failure_details
        )

    @property
    def is_terminal(self) -> bool:
        """Whether the instance has ended for good."""
        return self.runtime_status.is_terminal

    @property
    def _subject(self) -> str:
        version = f" version {self.version!r}" if self.version else ""
        return f"Orchestrator {self.name!r}{version}, instance {self.instance_id!r}"

    def _load(self, text: str | None, declared: Any, what: str) -> Any:
        if not self.fetched_payloads:
            raise UsageError(
                f"The {what} of instance {self.instance_id!r} was not fetched. Ask for the state "
                "with fetch_payloads=True (in a query: fetch_inputs_and_outputs=True)."
            )
        return self.converter.loads(text, declared, where=f"{what} of {self._subject}")


def _chain(failure: FailureDetails) -> str:
    """Tell a failure and its causes; the failure of a task tells its first cause already."""
    texts: list[str] = []
    for text in map(_told, failure.chain()):
        if not (texts and texts[-1].endswith(text)):
            texts.append(text)
    return ", caused by ".join(texts)


def _told(failure: FailureDetails) -> str:
    return f"{failure.error_type}: {failure.message}" if failure.message else failure.error_type


_ENDED: Final = {
    OrchestrationStatus.FAILED: "failed without details",
    OrchestrationStatus.CANCELED: "canceled",
    OrchestrationStatus.TERMINATED: "terminated",
}
