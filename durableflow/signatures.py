"""What a registered function takes and returns, read from its signature.

Mistakes that can be seen here are refused here.  Annotations may be text that cannot be evaluated
yet (``from __future__ import annotations`` and a class defined further down), so what depends on
them is read again when it is first needed.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    Protocol,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

from durableflow.errors import RegistrationError

Kind: TypeAlias = Literal["generator", "coroutine", "plain"]
Role: TypeAlias = Literal["orchestrator", "activity"]


class Absent(Enum):
    """The type of ``ABSENT``."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Stands where no input was given, or where a parameter has no default."""

# The contexts are defined on higher floors, so they are known here by their names.
_CONTEXTS: Final[Mapping[Role, str]] = {
    "orchestrator": "OrchestrationContext",
    "activity": "ActivityContext",
}


@attrs.frozen
class Parameter:
    """The parameter that receives the input.

    Attributes:
        type: Its annotation, evaluated; Any if there is none.
        default: Its default value, or ``ABSENT``.
        annotated: Whether it has an annotation.
    """

    type: Any
    default: Any
    annotated: bool

    def when_absent(self) -> Any:
        """Return what the parameter receives when no input was given.

        That is its default, else None if the parameter has no annotation or may be None, else
        ``ABSENT``: the caller has to give an input.
        """
        if self.default is not ABSENT:
            return self.default
        return None if not self.annotated or _accepts_none(self.type) else ABSENT


@attrs.frozen
class Signature:
    """A function as durableflow calls it.

    Attributes:
        kind: What a call returns: a generator, a coroutine, or the result itself.
        takes_context: Whether the first argument is the context.
        input: The parameter for the input; None if there is none.
        output_type: The declared type of the result; Any if unknown.
        unresolved: Why an annotation cannot be evaluated yet; None if all can be.
    """

    kind: Kind
    takes_context: bool
    input: Parameter | None
    output_type: Any
    unresolved: str | None


def source_of(function: Any) -> str:
    """Return where a function is written, as ``file:line``."""
    code = getattr(_written(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "source unknown"


def describe(function: Callable[..., Any]) -> str:
    """Return a function's name and source, for messages: ``'charge' (orders.py:12)``."""
    return f"'{function.__qualname__.rpartition('<locals>.')[2]}' ({source_of(function)})"


def _written(function: Any) -> Any:
    """Return the function as its author wrote it: unbound, and without wrappers around it."""
    written = inspect.unwrap(function)
    return getattr(written, "__func__", written)


def check_function(function: Any, role: Role) -> None:
    """Refuse what is no function that an app could call.

    Raises:
        RegistrationError: says what was given and what to write instead.
    """
    if not isinstance(function, types.FunctionType | types.MethodType):
        raise RegistrationError(_not_a_function(function, role))
    where = describe(function)
    if inspect.isasyncgenfunction(function):
        raise RegistrationError(
            f"{where} is an async generator (`async def` with `yield`). An {role} cannot be one: "
            + (
                "write `await` where it yields tasks, or `def` instead of `async def`."
                if role == "orchestrator"
                else "return a list instead of yielding its items."
            )
        )
    if role == "activity" and inspect.isgeneratorfunction(function):
        raise RegistrationError(
            f"{where} contains `yield`, so calling it runs nothing. An activity returns its "
            "result; if this calls activities, it is an orchestrator: use @app.orchestrator."
        )


def _not_a_function(value: Any, role: Role) -> str:
    decorator = f"@app.{role}"
    if isinstance(value, str):
        return (
            f"{decorator}({value!r}) takes no positional arguments. "
            f"Write {decorator}(version={value!r}) or {decorator}(name={value!r})."
        )
    if isinstance(value, type):
        return (
            f"{decorator} decorates functions, and '{value.__qualname__}' is a class. "
            f"Register a method of an instance: app.add_{role}({value.__name__}(...).method)."
        )
    if isinstance(value, staticmethod | classmethod):
        kind = type(value).__name__
        return (
            f"{decorator} was given a {kind}. For a static method put @staticmethod above "
            f"{decorator}; register a class method outside of its class by app.add_{role}(...)."
        )
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        return (
            f"app.add_{role} was given what '{value.__qualname__}' returned. "
            "Give the function itself, without calling it."
        )
    return (
        f"{decorator} takes a function, not {type(value).__name__}. Wrap it: "
        f"`def {role}(ctx, input): ...`."
    )


def enclosing_names(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the local names of the function that is just defining this one; empty if none is."""
    outer, is_nested, _ = function.__qualname__.rpartition(".<locals>.")
    frame = inspect.currentframe() if is_nested else None
    while frame is not None:
        if frame.f_code.co_qualname == outer and frame.f_globals is _written(function).__globals__:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def read_signature(
    function: Callable[..., Any], role: Role, local_names: Mapping[str, Any] | None = None
) -> Signature:
    """Work out how a function is called and what it returns.

    Args:
        function: It has passed ``check_function``.
        role: What it is to be registered as.
        local_names: Names beside the function's own globals and closure that its annotations may
            use: those of the function in which it is defined.

    Raises:
        RegistrationError: it cannot be called as an orchestrator or activity is called.
    """
    where = f"{role.capitalize()} {describe(function)}"
    signature = _inspect(function)
    parameters = _positional(signature, role, where)
    names = _names_for(function, local_names or {})
    hints = [_evaluate(parameter.annotation, names) for parameter in parameters[:2]]
    takes_context = _takes_context(hints, role, where)
    position = 1 if takes_context else 0
    parameter = None
    unresolved = []
    if position < len(hints):
        parameter = _parameter(parameters[position], hints[position])
        unresolved.append((f"parameter '{parameters[position].name}'", hints[position]))
    returned = _evaluate(signature.return_annotation, names)
    unresolved.append(("the result", returned))
    kind = _kind(function, returned)
    return Signature(
        kind=kind,
        takes_context=takes_context,
        input=parameter,
        output_type=_output_type(kind, returned),
        unresolved=next(
            (_cannot_evaluate(where, what, h) for what, h in unresolved if _is_unresolved(h)), None
        ),
    )


def _inspect(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _positional(signature: inspect.Signature, role: Role, where: str) -> list[inspect.Parameter]:
    """Return the parameters that arguments are passed to by position; refuse what stays empty."""
    positional = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise RegistrationError(
                f"{where} has *{parameter.name}, so its input cannot be found. Name its "
                "parameters; if a decorator hides them, use functools.wraps in that decorator."
            )
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise RegistrationError(
                f"{where} requires '{parameter.name}' by keyword, but durableflow passes the "
                "context and one input by position. Give it a default, or make it the input."
            )
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(parameter)
    if positional and positional[0].name in ("self", "cls"):
        raise RegistrationError(
            f"{where} is a method without its object. Register it bound: "
            f"app.add_{role}(instance.method)."
        )
    if len(positional) > 2 and positional[2].default is inspect.Parameter.empty:
        names = ", ".join(f"'{parameter.name}'" for parameter in positional[1:])
        raise RegistrationError(
            f"{where} takes several inputs ({names}), but there is one input beside the context. "
            "Group them in an attrs class."
        )
    return positional


@attrs.frozen
class _Unresolved:
    """An annotation that cannot be evaluated, yet or at all."""

    text: str
    why: str


def _is_unresolved(hint: Any) -> bool:
    return isinstance(hint, _Unresolved)


def _names_for(
    function: Callable[..., Any], local_names: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the globals and locals in which a function's annotations are evaluated."""
    written = _written(function)
    names = dict(local_names)
    for name, cell in zip(written.__code__.co_freevars, written.__closure__ or (), strict=True):
        # A name that the enclosing function has not assigned yet has an empty cell.
        with contextlib.suppress(ValueError):
            names[name] = cell.cell_contents
    for parameter in getattr(written, "__type_params__", ()):
        names[parameter.__name__] = parameter
    return written.__globals__, names


def _evaluate(annotation: Any, names: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """Return the type an annotation stands for, ``ABSENT``, or why it cannot be known."""
    if annotation is inspect.Parameter.empty:
        return ABSENT

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(holder, *names, include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        text = getattr(annotation, "__forward_arg__", annotation)
        return _Unresolved(str(text), f"{type(error).__name__}: {error}")


def _cannot_evaluate(where: str, what: str, hint: _Unresolved) -> str:
    return (
        f"{where}: the annotation `{hint.text}` of {what} cannot be evaluated ({hint.why}). "
        "Payloads are converted by it, so it has to exist at run time: define or import it in "
        "the module of the function, outside `if TYPE_CHECKING:`."
    )


def _takes_context(hints: Sequence[Any], role: Role, where: str) -> bool:
    if not hints:
        if role == "activity":
            return False
        raise RegistrationError(
            f"{where} takes no parameters. An orchestrator takes its context first: "
            "`def orchestrator(ctx: OrchestrationContext, input): ...`."
        )
    first = hints[0]
    own, other = (
        _CONTEXTS[role],
        _CONTEXTS["activity" if role == "orchestrator" else "orchestrator"],
    )
    class_names = _class_names(first)
    if other in class_names:
        raise RegistrationError(
            f"{where} takes an {other}, but an {role} receives an {own}. "
            f"Change the annotation, or the decorator."
        )
    if first is ABSENT or own in class_names:
        return True
    if role == "activity" and len(hints) == 1:
        return False
    # Any is a class since Python 3.11.
    is_open = first in (Any, object)
    if isinstance(first, type) and not is_open and Protocol not in first.__mro__:
        raise RegistrationError(
            f"{where} takes '{first.__name__}' as its first of several parameters, where an "
            f"{role} receives its context. Put `ctx: {own}` first; if there are several inputs, "
            "group them in an attrs class."
        )
    return True


def _class_names(hint: Any) -> set[str]:
    if isinstance(hint, _Unresolved):
        return {hint.text.strip("'\"").rpartition(".")[2]}
    return {base.__name__ for base in hint.__mro__} if isinstance(hint, type) else set()


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    annotated = hint is not ABSENT
    return Parameter(
        type=hint if annotated and not _is_unresolved(hint) else Any,
        default=ABSENT if parameter.default is parameter.empty else parameter.default,
        annotated=annotated,
    )


def _kind(function: Callable[..., Any], returned: Any) -> Kind:
    if inspect.isgeneratorfunction(function):
        return "generator"
    if inspect.iscoroutinefunction(function):
        return "coroutine"
    origin = get_origin(returned) or returned
    if origin is Generator:
        return "generator"
    return "coroutine" if origin in (Coroutine, Awaitable) else "plain"


def _output_type(kind: Kind, returned: Any) -> Any:
    """Return what a caller gets in the end: the ``T`` of ``Generator[..., ..., T]``, say."""
    if returned is ABSENT or _is_unresolved(returned):
        return Any
    if (get_origin(returned) or returned) in (Generator, Coroutine, Awaitable):
        arguments = get_args(returned)
        return arguments[-1] if arguments else Any
    # What else stands on a generator, such as Iterator, says nothing about its result.
    return Any if kind == "generator" else returned


def _accepts_none(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _accepts_none(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(_accepts_none(argument) for argument in get_args(hint))
    return hint in (Any, None, type(None), object)
