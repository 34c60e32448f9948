"""Failures as they travel: what failed, why, where, and whether trying again can help.

An exception may say more about itself by two attributes: ``failure_properties``, a mapping of text
to plain values that travels with it, and ``is_non_retriable``, which retry policies respect.
"""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from attrs import evolve, field, frozen
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import OrchestrationFailedError, TaskFailedError

_OWN_FOLDER: Final = str(Path(__file__).resolve().parents[1])
_LONGEST_CHAIN: Final = 20
_LONGEST_TEXT: Final = 32_768
_DEEPEST_VALUE: Final = 20
_LARGEST_WHOLE: Final = 2**53
# The second is that of the same module in processes that multiprocessing starts.
_MAIN_NAMES: Final = ("__main__", "__mp_main__")
_CAUSED: Final = "\nThe above exception was the direct cause of the following exception:\n\n"


class RemoteTraceback(str):
    """A note on an exception: where what it reports failed.  Not a part of its message."""

    __slots__ = ()


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
        """Whether this failure, or one that caused it, is of a type, as ``is_a`` says."""
        return any(details.is_a(error_type) for details in self.chain())

    def is_a(self, error_type: type[BaseException] | str) -> bool:
        """Whether this failure itself is of a type.

        Only names travel.  So a class matches those of its subclasses that this process has
        loaded; ``Exception`` also matches whatever nobody here knows.

        Args:
            error_type: An exception class, or the name of exactly one: qualified
                (``builtins.ValueError``) or bare (``ValueError``).
        """
        if isinstance(error_type, str):
            return error_type in (self.error_type, self.error_type.rpartition(".")[2])
        if error_type is BaseException:
            return True
        if error_type is Exception:
            others = (cls for cls in BaseException.__subclasses__() if cls is not Exception)
            return not any(_names_one_of(self.error_type, cls) for cls in others)
        return _names_one_of(self.error_type, error_type)

    def chain(self) -> Iterator[FailureDetails]:
        """Yield this failure, what caused it, what caused that, and so on."""
        details: FailureDetails | None = self
        while details is not None:
            yield details
            details = details.inner

    def format_traceback(self) -> str:
        """Tell it as Python tells an exception: the causes first, each with where it happened."""
        return _CAUSED.join(map(_told, reversed(list(self.chain()))))

    def annotate(self, error: BaseException) -> None:
        """Let an exception that reports this failure show where it happened, if that is known."""
        if any(details.stack_trace for details in self.chain()):
            text = f"Where that failed:\n{self.format_traceback()}".rstrip()
            error.add_note(RemoteTraceback(text))


def type_name(error_type: type[BaseException]) -> str:
    """Return the qualified name that a class of exceptions travels under.

    A class of the module that was started as the program carries the name under which others
    import that module, since ``__main__`` means another module in every process.
    """
    module = error_type.__module__
    return f"{_main_name() if module in _MAIN_NAMES else module}.{error_type.__qualname__}"


def from_exception(error: BaseException, *, non_retriable: bool = False) -> FailureDetails:
    """Describe an exception and its causes.  Never raises.

    What ``raise … from None`` hides stays hidden.  The stack trace leaves out durableflow's own
    frames.  Texts that are too long are cut.

    Args:
        non_retriable: Marks it, even if the exception does not say so itself.
    """
    causes = _causes(error)
    inner = _carried(causes[-1] if causes else error)
    for cause in reversed(causes):
        inner = _describe(cause, inner)
    details = _describe(error, inner)
    return evolve(details, is_non_retriable=non_retriable or details.is_non_retriable)


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
        _write_value(message.properties[name], value)
    return message


def from_message(message: pb.TaskFailureDetails) -> FailureDetails:
    """Read the message that carries a failure."""
    return FailureDetails(
        error_type=message.errorType,
        message=message.errorMessage,
        stack_trace=message.stackTrace.value if message.HasField("stackTrace") else None,
        inner=from_message(message.innerFailure) if message.HasField("innerFailure") else None,
        is_non_retriable=message.isNonRetriable,
        properties={name: _read_value(value) for name, value in message.properties.items()},
    )


def _told(details: FailureDetails) -> str:
    trace = f"{details.stack_trace.rstrip()}\n" if details.stack_trace else ""
    if trace.startswith('  File "'):
        trace = f"Traceback (most recent call last):\n{trace}"
    message = f": {details.message}" if details.message else ""
    return f"{trace}{details.error_type}{message}\n"


def _names_one_of(name: str, cls: type[BaseException]) -> bool:
    """Whether a name is that of a class or of one of its subclasses."""
    return type_name(cls) == name or any(_names_one_of(name, c) for c in cls.__subclasses__())


def _describe(error: BaseException, inner: FailureDetails | None) -> FailureDetails:
    return FailureDetails(
        error_type=type_name(type(error)),
        message=_text(error),
        stack_trace=_stack_trace(error.__traceback__),
        inner=inner,
        is_non_retriable=_said_by(error, "is_non_retriable") is True,
        properties=_properties(_said_by(error, "failure_properties")),
    )


def _causes(error: BaseException) -> list[BaseException]:
    """List what caused an exception, the nearest cause first."""
    seen = [error]
    while len(seen) < _LONGEST_CHAIN:
        latest = seen[-1]
        cause = latest.__cause__
        if cause is None and not latest.__suppress_context__:
            cause = latest.__context__
        if cause is None and isinstance(latest, BaseExceptionGroup):
            cause = latest.exceptions[0]
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
        notes = getattr(error, "__notes__", ())
        kept = (note for note in notes if not isinstance(note, RemoteTraceback))
        return _sendable("\n".join(map(str, (error, *kept))))
    except Exception:  # noqa: BLE001 -- its __str__ is user code; the failure must still travel
        return f"<{type(error).__name__} that cannot be shown as text>"


def _said_by(error: BaseException, attribute: str) -> Any:
    try:
        return getattr(error, attribute, None)
    except Exception:  # noqa: BLE001 -- it may be computed by user code
        return None


def _stack_trace(start: TracebackType | None) -> str | None:
    frames = traceback.extract_tb(start)
    theirs = [frame for frame in frames if not frame.filename.startswith(_OWN_FOLDER)]
    return _sendable("".join(traceback.format_list(theirs))) or None


def _sendable(text: str) -> str:
    """Return text that can be sent as UTF-8, and is not too long to be."""
    if len(text) > _LONGEST_TEXT:
        half = _LONGEST_TEXT // 2
        text = f"{text[:half]}\n… ({len(text) - 2 * half} characters left out) …\n{text[-half:]}"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _properties(said: Any) -> dict[str, Any]:
    try:
        return {_sendable(str(name)): _plain(value) for name, value in dict(said or {}).items()}
    except Exception:  # noqa: BLE001 -- it is made by user code; the failure must still travel
        return {}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON can carry it; what it cannot becomes text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST_WHOLE:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping) and depth < _DEEPEST_VALUE:
        return {_sendable(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST_VALUE:
        return [_plain(item, depth + 1) for item in value]
    return _sendable(str(value))


def _write_value(message: Value, value: Any) -> None:
    if value is None:
        message.null_value = NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, Mapping):
        message.struct_value.SetInParent()
        for name, item in value.items():
            _write_value(message.struct_value.fields[name], item)
    else:
        message.list_value.SetInParent()
        for item in value:
            _write_value(message.list_value.values.add(), item)


def _read_value(message: Value) -> Any:
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _read_value(item) for name, item in message.struct_value.fields.items()}
    if kind == "list_value":
        return [_read_value(item) for item in message.list_value.values]
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() else number
    return None if kind in (None, "null_value") else getattr(message, kind)


def _main_name() -> str:
    """Return the name by which other modules import the one that was started."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"
