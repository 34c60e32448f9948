"""Every exception of durableflow, in one tree.

The three branches under the root say whose move it is next:

    DurableFlowError
    ├── SetupError                      fix the program or its settings; nothing has run yet
    │   ├── RegistrationError           a decorator or ``add_…`` call that cannot be accepted
    │   ├── NotRegisteredError          a function or name that this app does not know
    │   ├── SettingsError               a setting that is missing, malformed or unknown
    │   ├── TaskHubAddressError         a task-hub address that cannot be understood
    │   └── PluginError                 a plugin that does not fit the hooks it implements
    ├── UsageError                      fix the call; nothing was sent
    │   ├── ConversionError             a value and its declared type do not fit
    │   ├── OrchestratorError           an orchestrator function broke a rule of orchestrators
    │   │   └── NonDeterminismError     the code no longer does what the history says it did
    │   ├── PayloadTooLargeError        what is to be sent is larger than it may be
    │   └── UnsupportedByEngineError    the engine in use cannot do this
    ├── FailureError                    user code failed; orchestrators and callers see it
    │   ├── TaskFailedError             an awaited activity or child failed
    │   ├── TaskCancelledError          an awaited task was cancelled
    │   ├── ActivityTimeoutError        an activity ran for longer than its timeout
    │   ├── ActivityCrashedError        an activity ended the process that ran it
    │   ├── ActivityCancelledError      nobody waits for this activity any more
    │   ├── OrchestrationFailedError    an instance failed or was terminated
    │   └── OrchestrationNotCompletedError   its output was asked for too early
    └── OperationalError                retry, wait, or look at the machine
        ├── CallError                   the task hub answered with an error status
        │   ├── InstanceNotFoundError
        │   ├── InstanceAlreadyExistsError
        │   └── OutcomeUnknownError     sent, but nobody knows whether it was carried out
        ├── WaitTimeoutError            the caller's own deadline passed
        ├── TaskHubUnavailableError     no engine answers at this address
        ├── HistoryLostError            a stored history cannot be read back
        ├── PayloadUnavailableError     where a payload is stored does not answer now
        │   └── PayloadDeniedError      it refuses access
        ├── PayloadLostError            a stored payload cannot be read back, now or ever
        └── StorageError                the embedded engine's file
            ├── StorageFullError
            ├── StorageUnusableError    not a database, not ours, or not writable
            └── StorageTooNewError      written by a newer durableflow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durableflow.protocol.failures import FailureDetails
    from durableflow.protocol.status import Status


class DurableFlowError(Exception):
    """The root of all errors that durableflow raises."""


class SetupError(DurableFlowError):
    """The program or its settings must change; raised before anything runs."""


class RegistrationError(SetupError):
    """A function cannot be registered as asked."""


class NotRegisteredError(SetupError):
    """This app has no such orchestrator or activity."""


class SettingsError(SetupError):
    """A setting is missing, malformed or unknown."""


class TaskHubAddressError(SetupError):
    """A task-hub address cannot be understood, or its scheme is unknown."""


class PluginError(SetupError):
    """A plugin does not fit the hooks it implements."""


class UsageError(DurableFlowError):
    """The call must change; nothing was sent."""


class ConversionError(UsageError, ValueError):
    """A value does not fit its type, or cannot travel as JSON.

    Attributes:
        path: Where in the value, for example ``order.items[2].price``; ``""`` is the value itself.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class OrchestratorError(UsageError):
    """An orchestrator function broke a rule of orchestrators."""


class NonDeterminismError(OrchestratorError):
    """The code no longer does what the instance's history says it did."""


class PayloadTooLargeError(UsageError):
    """What is to be sent is larger than it may be.

    Trying again cannot help, so retry policies do not.

    Attributes:
        place: What it is, for example ``result of activity 'charge'``.
        size_bytes: How large it is.
        limit_bytes: How large it may be; None if only the engine knows.
    """

    is_non_retriable = True

    def __init__(
        self, message: str, *, place: str, size_bytes: int, limit_bytes: int | None
    ) -> None:
        super().__init__(message)
        self.place = place
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnsupportedByEngineError(UsageError):
    """The engine in use lacks a feature.

    Attributes:
        feature: The feature's name, as in the capability table of the documentation.
        engine: The engine's name.
        hint: What to do instead.
    """

    def __init__(self, feature: str, engine: str, hint: str) -> None:
        super().__init__(f"{engine} does not support {feature}. {hint}")
        self.feature = feature
        self.engine = engine
        self.hint = hint


class FailureError(DurableFlowError):
    """User code failed somewhere, and the failure arrives here."""


class TaskFailedError(FailureError):
    """An awaited activity or sub-orchestration failed.

    Attributes:
        details: What failed, with the chain of its causes.
    """

    def __init__(self, message: str, details: FailureDetails) -> None:
        super().__init__(message)
        self.details = details
        details.annotate(self)


class TaskCancelledError(FailureError):
    """An awaited task was cancelled."""


class ActivityTimeoutError(FailureError, TimeoutError):
    """An activity ran for longer than its timeout."""


class ActivityCrashedError(FailureError):
    """An activity ended the process that ran it."""


class ActivityCancelledError(FailureError):
    """Nobody waits for this activity any more; see ``CancelToken``."""


class OrchestrationFailedError(FailureError):
    """An orchestration instance failed or was terminated.

    Attributes:
        instance_id: The instance.
        details: What failed, with the chain of its causes; None for a terminated instance.
    """

    def __init__(
        self, message: str, *, instance_id: str, details: FailureDetails | None = None
    ) -> None:
        super().__init__(message)
        self.instance_id = instance_id
        self.details = details
        if details is not None:
            details.annotate(self)


class OrchestrationNotCompletedError(FailureError):
    """The output of an instance was asked for before it finished."""


class OperationalError(DurableFlowError):
    """Retry, wait, or look at the machine; the program is right."""


class CallError(OperationalError):
    """A task hub answered a call with an error status.

    The port raises this class itself; the client turns the statuses that have a meaning of their
    own into the subclasses.

    Attributes:
        status: The status, named as gRPC names it.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class InstanceNotFoundError(CallError):
    """The task hub holds no instance with this id."""


class InstanceAlreadyExistsError(CallError):
    """An instance with this id exists and the reuse policy does not allow replacing it."""


class OutcomeUnknownError(CallError):
    """The connection broke after the request may have been carried out."""


class WaitTimeoutError(OperationalError, TimeoutError):
    """The caller's own deadline passed first."""


class TaskHubUnavailableError(OperationalError, ConnectionError):
    """No engine answers at this task-hub address."""


class HistoryLostError(OperationalError):
    """A stored history cannot be read back."""


class PayloadUnavailableError(OperationalError, ConnectionError):
    """Where a payload is stored does not answer; it may later."""


class PayloadDeniedError(PayloadUnavailableError):
    """Where a payload is stored refuses access, until somebody grants it."""


class PayloadLostError(OperationalError):
    """A stored payload is gone, damaged, or in a place that must not be read.

    Trying again cannot help, so retry policies do not.

    Attributes:
        reference: What stood for the payload, without credentials.
    """

    is_non_retriable = True

    def __init__(self, message: str, *, reference: str) -> None:
        super().__init__(message)
        self.reference = reference


class StorageError(OperationalError):
    """The embedded engine's file cannot be read or written."""


class StorageFullError(StorageError):
    """There is no space left for the embedded engine's file."""


class StorageUnusableError(StorageError):
    """The file is not a database, not a durableflow hub, or not writable."""


class StorageTooNewError(StorageError):
    """The file was written by a newer durableflow than this one."""
