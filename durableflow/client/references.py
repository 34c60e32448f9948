"""How an orchestrator is named in a call, for type checkers: one set of aliases for both clients.

Order and bounds matter to type checkers.  A generator's declared type contains ``Any``, so mypy
takes an overload for plain functions with a free result type to match it as well and gives up on
the result; the bound of ``PlainT`` keeps generators and coroutines out.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from durableflow.client.models import OrchestrationIdReusePolicy
from durableflow.replay import OrchestrationContext

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


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
    Callable[[OrchestrationContext], OutputT] | Callable[[OrchestrationContext, None], OutputT]
)
"""An orchestrator without an input, or with one that may be absent."""

WithInput: TypeAlias = Callable[[OrchestrationContext, InputT], OutputT]

Timeout: TypeAlias = float | timedelta | None

AnyOrchestrator: TypeAlias = str | Callable[..., Any]


class StartOptions(TypedDict, total=False):
    """The keywords of ``schedule_new_orchestration``; its docstring explains them."""

    instance_id: str | None
    version: str | None
    start_at: datetime | None
    tags: Mapping[str, str] | None
    reuse_id_policy: OrchestrationIdReusePolicy


class RunOptions(StartOptions, total=False):
    """The keywords of ``run_orchestration``."""

    timeout: Timeout
