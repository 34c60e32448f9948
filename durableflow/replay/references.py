"""How activities and orchestrators are named in a call, for type checkers.

Clients and contexts share these aliases.  Order and bounds matter to type checkers.  A generator's
declared type contains ``Any``, so mypy takes an overload for plain functions with a free result
type to match it as well and gives up on the result; the bound of ``PlainT`` keeps generators and
coroutines out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence, Set
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from durableflow.retry import RetryPolicy

if TYPE_CHECKING:
    from durableflow.replay.context import OrchestrationContext
    from durableflow.worker.context import ActivityContext

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")
_InputT_contra = TypeVar("_InputT_contra", contravariant=True)
_OutputT_co = TypeVar("_OutputT_co", covariant=True)


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[Any]


class _AttrsClass(Protocol):
    __attrs_attrs__: ClassVar[Any]


class _HasToJson(Protocol):
    def to_json(self) -> Any: ...


PlainT = TypeVar(
    "PlainT",
    bound=str
    | int
    | float
    | bytes
    | date
    | time
    | timedelta
    | Decimal
    | UUID
    | Enum
    | Sequence[Any]
    | Mapping[Any, Any]
    | Set[Any]
    | _Dataclass
    | _AttrsClass
    | _HasToJson
    | None,
)
"""What an orchestrator that is neither a generator nor a coroutine may return."""

Routine: TypeAlias = Generator[Any, Any, OutputT] | Coroutine[Any, Any, OutputT]

WithoutInput: TypeAlias = (
    "Callable[[OrchestrationContext], OutputT] | Callable[[OrchestrationContext, None], OutputT]"
)
"""An orchestrator without an input, or with one that may be absent."""

WithInput: TypeAlias = "Callable[[OrchestrationContext, InputT], OutputT]"

AnyOrchestrator: TypeAlias = str | Callable[..., Any]


# mypy works out a type variable from a protocol before it looks at an argument whose type contains
# a callable.  So the activity alone says what its input is, and `[1, 2]` is accepted where it takes
# `list[float]`.  The callable itself is never given: nobody has a `_Nobody`.


class Activity(Protocol[_InputT_contra, _OutputT_co]):
    """An activity with context and input."""

    def __call__(self, ctx: ActivityContext, input: _InputT_contra, /) -> _OutputT_co:
        """Run it."""


class ActivityWithoutContext(Protocol[_InputT_contra, _OutputT_co]):
    """An activity with an input only."""

    def __call__(self, input: _InputT_contra, /) -> _OutputT_co:
        """Run it."""


class _Nobody: ...


Fitting: TypeAlias = InputT | Callable[[_Nobody], InputT]
"""An input, whose type the activity decides."""

Async: TypeAlias = Coroutine[Any, Any, OutputT]

ActivityWithoutInput: TypeAlias = (
    "Callable[[ActivityContext], OutputT] | Callable[[ActivityContext, None], OutputT]"
)
"""An activity with context and without an input, or with one that may be absent."""


class CallOptions(TypedDict, total=False):
    """The keywords of ``call_activity``; its docstring explains them."""

    retry_policy: RetryPolicy | None
    tags: Mapping[str, str] | None
    version: str | None


class ChildOptions(CallOptions, total=False):
    """The keywords of ``call_sub_orchestrator``; its docstring explains them."""

    instance_id: str | None


class MapOptions(CallOptions, total=False):
    """The keywords of ``map``; its docstring explains them."""

    limit: int | None
