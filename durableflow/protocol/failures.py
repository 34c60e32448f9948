"""Failures as they travel: what failed, why, where, and whether trying again can help."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from attrs import evolve, field, frozen
from google.protobuf.json_format import MessageToDict, ParseDict

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import OrchestrationFailedError, TaskFailedError

_OWN_FOLDER: Final = str(Path(__file__).resolve().parents[1])
_LONGEST_CHAIN: Final = 20


@frozen
class FailureDetails:
    """A failure, wherever it happened.

    Attributes:
        error_type: The qualified name of the exception's class, for example
            ``builtins.ValueError``.  Workers in other languages write names of theirs.
        message: The exception's text; may be empty.
        stack_trace: The lines that led to it, None if they are not known.
        inner: The failure that caused this one.
        is_non_retriable: Retry policies do not try again.
        properties: More about it, as the worker that failed chose to tell.
    """

    error_type: str
    message: str
    stack_trace: str | None = field(default=None, repr=False)
    inner: FailureDetails | None = None
    is_non_retriable: bool = False
    properties: Mapping[str, Any] = field(factory=dict)

    def is_caused_by(self, error_type: type[BaseException] | str) -> bool:
        """Whether this failure, or one that caused it, is of a type.

        Only names travel, so a class matches its own name and not the names of its subclasses.

        Args:
            error_type: An exception class, or its name: qualified (``builtins.ValueError``) or
                bare (``ValueError``).
        """
        name = error_type if isinstance(error_type, str) else type_name(error_type)
        return any(
            details.error_type == name or details.error_type.rpartition(".")[2] == name
            for details in self.chain()
        )

    def chain(self) -> Iterator[FailureDetails]:
        """Yield this failure, what caused it, what caused that, and so on."""
        details: FailureDetails | None = self
        while details is not None:
            yield details
            details = details.inner


def type_name(error_type: type[BaseException]) -> str:
    """Return the qualified name that a class of exceptions travels under.

    A class of the module that was started as the program carries the name under which others
    import that module, since ``__main__`` means another module in every process.
    """
    module = error_type.__module__
    return f"{_main_name() if module == '__main__' else module}.{error_type.__qualname__}"


def from_exception(error: BaseException, *, non_retriable: bool = False) -> FailureDetails:
    """Describe an exception and its causes.  Never raises.

    What ``raise … from None`` hides stays hidden.  The stack trace leaves out durableflow's own
    frames.
    """
    causes = _causes(error)
    inner = _carried(causes[-1] if causes else error)
    for cause in reversed(causes):
        inner = _describe(cause, inner)
    return evolve(_describe(error, inner), is_non_retriable=non_retriable)


def to_message(details: FailureDetails) -> pb.TaskFailureDetails:
    """Make the message that carries a failure."""
    message = pb.TaskFailureDetails(
        errorType=details.error_type,
        errorMessage=details.message,
        isNonRetriable=details.is_non_retriable,
    )
    if details.stack_trace is not None:
        message.stackTrace.value = details.stack_trace
    if details.inner is not None:
        message.innerFailure.CopyFrom(to_message(details.inner))
    for name, value in details.properties.items():
        ParseDict(value, message.properties[name])
    return message


def from_message(message: pb.TaskFailureDetails) -> FailureDetails:
    """Read the message that carries a failure."""
    return FailureDetails(
        error_type=message.errorType,
        message=message.errorMessage,
        stack_trace=message.stackTrace.value if message.HasField("stackTrace") else None,
        inner=from_message(message.innerFailure) if message.HasField("innerFailure") else None,
        is_non_retriable=message.isNonRetriable,
        properties={name: MessageToDict(value) for name, value in message.properties.items()},
    )


def _describe(error: BaseException, inner: FailureDetails | None) -> FailureDetails:
    return FailureDetails(
        error_type=type_name(type(error)),
        message=_text(error),
        stack_trace=_stack_trace(error.__traceback__),
        inner=inner,
    )


def _causes(error: BaseException) -> list[BaseException]:
    """List what caused an exception, the nearest cause first."""
    seen = [error]
    while len(seen) < _LONGEST_CHAIN:
        latest = seen[-1]
        cause = latest.__cause__
        if cause is None and not latest.__suppress_context__:
            cause = latest.__context__
        if cause is None or any(cause is known for known in seen):
            break
        seen.append(cause)
    return seen[1:]


def _carried(error: BaseException) -> FailureDetails | None:
    """Return the failure, of another function, that an exception brought along."""
    if isinstance(error, TaskFailedError | OrchestrationFailedError):
        return error.details
    return None


def _text(error: BaseException) -> str:
    try:
        return "\n".join(map(str, (error, *getattr(error, "__notes__", ()))))
    except Exception:  # noqa: BLE001 -- its __str__ is user code; the failure must still travel
        return f"<{type(error).__name__} that cannot be shown as text>"


def _stack_trace(start: TracebackType | None) -> str | None:
    frames = traceback.extract_tb(start)
    theirs = [frame for frame in frames if not frame.filename.startswith(_OWN_FOLDER)]
    return "".join(traceback.format_list(theirs)) or None


def _main_name() -> str:
    """Return the name by which other modules import the one that was started."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"
