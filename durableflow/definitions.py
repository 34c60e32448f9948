"""What the registry holds: a function with its name, its version, and how it is to be run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from types import MethodType
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import attrs

from durableflow.errors import RegistrationError
from durableflow.retry import RetryPolicy
from durableflow.signatures import Kind, Parameter, Role, Signature, read_signature

Executor: TypeAlias = Literal["thread", "process"]

_ASYNC: Final = "coroutine"


# Compared by identity: a definition is one act of registering.
@attrs.frozen(slots=False, eq=False, kw_only=True)
class Definition:
    """A registered function.

    Attributes:
        name: What clients and histories call it.
        version: The version that it runs; None: every version without a function of its own.
        function: The function as it was registered.
        source: Where it is written, as ``file:line``.
    """

    role: ClassVar[Role]

    name: str
    version: str | None
    function: Callable[..., Any]
    source: str
    early_signature: Signature | None = attrs.field(repr=False)
    module_run: object = attrs.field(repr=False)

    @cached_property
    def signature(self) -> Signature:
        """How the function is called, read again if it could not be read completely at first.

        Raises:
            RegistrationError: an annotation that payloads are converted by cannot be evaluated.
        """
        if self.early_signature is not None:
            return self.early_signature
        signature = read_signature(self.function, self.role)
        if signature.unresolved is not None:
            raise RegistrationError(signature.unresolved)
        return signature

    @cached_property
    def input(self) -> Parameter | None:
        """The parameter for the input; None if there is none."""
        return self.signature.input

    @cached_property
    def output_type(self) -> Any:
        """The declared type of the result; Any if there is none."""
        return self.signature.output_type

    @property
    def label(self) -> str:
        """The definition for people, for example ``activity 'charge' version '2'``."""
        return label_of(self.role, self.name, self.version)

    def check(self) -> None:
        """Make sure that it can run, now that everything is defined.

        Raises:
            RegistrationError: says what is wrong.
        """
        _ = self.signature


@attrs.frozen(slots=False, eq=False, kw_only=True)
class OrchestratorDefinition(Definition):
    """A registered orchestrator."""

    role: ClassVar[Role] = "orchestrator"

    @cached_property
    def kind(self) -> Kind:
        """What a call of the function returns: a generator, a coroutine or the output."""
        return self.signature.kind


def _read_timeout(value: Any) -> Any:
    """Read a timeout as seconds; leave what is none to the check."""
    return value.total_seconds() if isinstance(value, timedelta) else value


@attrs.frozen(slots=False, eq=False, kw_only=True)
class ActivityDefinition(Definition):
    """A registered activity.

    Attributes:
        retry_policy: Used where a call names no policy of its own.
        timeout_seconds: How long one attempt may run; None sets no limit.
        executor: Where a plain function runs: on a thread of the worker, or in a process beside it.
    """

    role: ClassVar[Role] = "activity"

    retry_policy: RetryPolicy | None = None
    timeout_seconds: float | None = attrs.field(
        default=None, alias="timeout", converter=_read_timeout
    )
    executor: Executor = "thread"

    def __attrs_post_init__(self) -> None:
        problem = self._wrong_option()
        if problem is not None:
            raise RegistrationError(f"The {self.label} ({self.source}): {problem}")

    @cached_property
    def is_async(self) -> bool:
        """Whether a call of the function returns a coroutine."""
        return self.signature.kind == _ASYNC

    @cached_property
    def takes_context(self) -> bool:
        """Whether the first argument is the context."""
        return self.signature.takes_context

    def check(self) -> None:
        """See ``Definition``.  Other processes must find the function under its name."""
        super().check()
        if self.executor == "process" and _importable(self.function) is not self.function:
            function = self.function
            raise RegistrationError(
                f"The {self.label} ({self.source}) is to run in other processes, which import it, "
                f"but '{function.__qualname__}' of module '{function.__module__}' is not this "
                "function. Put @app.activity above all other decorators, and keep the function "
                "under its own name in a file."
            )

    def _wrong_option(self) -> str | None:
        policy: Any = self.retry_policy
        seconds: Any = self.timeout_seconds
        if policy is not None and not isinstance(policy, RetryPolicy):
            return f"retry_policy= takes a RetryPolicy, not {type(policy).__name__}."
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and not (is_number and 0 < seconds <= sys.float_info.max):
            return f"timeout={seconds!r}: give a timedelta, or seconds, of more than zero."
        if self.executor not in get_args(Executor):
            return f'executor={self.executor!r}: give "thread" or "process".'
        return None if self.executor == "thread" else self._unfit_for_processes()

    def _unfit_for_processes(self) -> str | None:
        if self.early_signature is not None and self.early_signature.kind == _ASYNC:
            return 'executor="process" is for plain functions; write `def` instead of `async def`.'
        if isinstance(self.function, MethodType):
            return "a bound method cannot run in other processes; register a plain function."
        if "<" in self.function.__qualname__:
            return (
                'executor="process" needs a function that other processes can import; define it '
                "at the top of a module, not inside of another function."
            )
        return None


def label_of(role: Role, name: str, version: str | None) -> str:
    """Return what people call a function, for example ``activity 'charge' version '2'``."""
    return f"{role} '{name}'" + (f" version '{version}'" if version else "")


def _importable(function: Callable[..., Any]) -> object:
    """Return what stands under a function's qualified name; None if nothing does."""
    module = sys.modules.get(function.__module__)
    if not hasattr(module, "__file__"):
        return None  # typed at a prompt
    found: object = module
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found
