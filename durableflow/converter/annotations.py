"""Reading type annotations: names for people, generics, and what they are bound to."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from durableflow.converter.mismatch import MismatchError

NoneType = type(None)

# ReadOnly came with Python 3.13.
_MARKS = (Annotated, Final, Required, NotRequired, getattr(typing, "ReadOnly", NotRequired))


def class_of(declared: Any) -> Any:
    """Return the class behind a type: ``list`` for ``list[int]``; other types are their own."""
    return get_origin(declared) or declared


def is_class(declared: Any) -> bool:
    """Whether a type is a class, or a generic class with arguments, and nothing else."""
    return isinstance(class_of(declared), type) and not is_union(declared)


def is_union(declared: Any) -> bool:
    """Whether a type is a union, written either way."""
    return get_origin(declared) in (Union, types.UnionType)


def is_literal(declared: Any) -> bool:
    """Whether a type lists its values."""
    return get_origin(declared) is Literal


def is_typed_dict(declared: Any) -> bool:
    """Whether a type is a TypedDict, of ``typing`` or of ``typing_extensions``."""
    cls = class_of(declared)
    return isinstance(cls, type) and issubclass(cls, dict) and hasattr(cls, "__required_keys__")


def is_named_tuple(declared: Any) -> bool:
    """Whether a type is a named tuple."""
    cls = class_of(declared)
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_foreign(cls: type) -> bool:
    """Whether a class belongs to Python or to durableflow, so that its attributes are no data."""
    package = cls.__module__.partition(".")[0]
    return package in sys.stdlib_module_names or package == "durableflow"


def unwrapped(declared: Any) -> Any:
    """Take off one layer that means nothing for conversion, or return the type itself.

    ``NewType``, ``Annotated``, ``Final``, type aliases and type variables are such layers.
    """
    origin = get_origin(declared)
    if declared is None:
        return NoneType
    if isinstance(declared, NewType):
        return declared.__supertype__
    if origin in _MARKS:
        return get_args(declared)[0]
    if isinstance(declared, TypeVar):
        return declared.__bound__ or Any
    alias = class_of(declared)
    if hasattr(alias, "__value__") and not isinstance(alias, type):
        bound = zip(alias.__type_params__, get_args(declared), strict=False)
        return substitute(alias.__value__, dict(bound))
    return declared


def hints_of(subject: Any) -> dict[str, Any]:
    """Return the annotations of a class or function, with names in text resolved.

    Raises:
        MismatchError: a name cannot be resolved.
    """
    try:
        hints = get_type_hints(subject, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        name = getattr(subject, "__qualname__", "?")
        raise MismatchError(
            f"the annotations of {name} cannot be read ({error}); "
            "import what they name at module level, not under TYPE_CHECKING"
        ) from error
    return {name: hint for name, hint in hints.items() if class_of(hint) is not ClassVar}


def bindings(declared: Any) -> dict[Any, Any]:
    """Work out what the type variables of a generic class and of its bases stand for."""
    cls = class_of(declared)
    parameters = getattr(cls, "__parameters__", ())
    bound: dict[Any, Any] = dict(zip(parameters, get_args(declared), strict=False))
    own = vars(cls) if isinstance(cls, type) else {}
    for base in own.get("__orig_bases__", getattr(cls, "__bases__", ())):
        for variable, argument in bindings(base).items():
            bound.setdefault(variable, substitute(argument, bound))
    return bound


def substitute(declared: Any, bound: Mapping[Any, Any]) -> Any:
    """Put types in the place of type variables."""
    if isinstance(declared, TypeVar):
        return bound.get(declared, declared)
    parameters = () if isinstance(declared, type) else getattr(declared, "__parameters__", ())
    if not bound or not parameters:
        return declared
    return declared[tuple(bound.get(parameter, parameter) for parameter in parameters)]


def parameters_of(cls: type) -> tuple[inspect.Parameter, ...]:
    """Return the parameters of a class's ``__init__``, without ``self``."""
    try:
        return tuple(inspect.signature(cls).parameters.values())
    except (ValueError, TypeError):
        return ()


def name_of(declared: Any) -> str:
    """Name a type for people, as one would write it in an annotation."""
    arguments = get_args(declared)
    if declared is Any:
        return "any JSON value"
    if declared in (None, NoneType):
        return "None"
    if is_literal(declared):
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if is_union(declared):
        return " | ".join(map(name_of, arguments))
    name = getattr(class_of(declared), "__name__", None) or str(declared)
    if not arguments or get_origin(declared) is Annotated:
        return name
    inner = ", ".join("…" if argument is ... else name_of(argument) for argument in arguments)
    return f"{name}[{inner}]"
