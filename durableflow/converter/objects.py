"""Classes with declared fields: attrs, dataclasses, named tuples and TypedDicts.

All travel as JSON objects, one key a field.  Fields that ``__init__`` does not take travel too,
unless they are private, and are set after it.  Unknown keys are ignored, so that a newer sender
may add fields; a missing one takes its default or is an error.  Named tuples accept arrays too.

A value of a subclass travels with all its fields and arrives as the declared class.  A mapping
(a ``Record``, say) is accepted where a class is declared if the class can be made from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NotRequired, Optional, Required, get_origin

import attrs

from durableflow.converter import mismatch
from durableflow.converter.annotations import (
    bindings,
    class_of,
    hints_of,
    is_class,
    is_named_tuple,
    is_typed_dict,
    name_of,
    substitute,
)
from durableflow.converter.kind import Decode, Encode, Hooks, Kind, always
from durableflow.converter.mismatch import MismatchError, from_hook, unexpected

ABSENT: Any = object()


@attrs.frozen
class Field:
    """One field of a class.

    Attributes:
        name: The attribute, and the key in JSON.
        type: What was declared; Any if nothing was.
        argument: What ``__init__`` calls it; None if it is set afterwards.
        required: Whether ``__init__`` cannot do without it.
    """

    name: str
    type: Any
    argument: str | None
    required: bool


def _attrs_fields(cls: type, hints: Mapping[str, Any]) -> Iterator[Field]:
    for each in attrs.fields(cls):
        declared = hints.get(each.name, Any if each.type is None else each.type)
        if each.default is None:
            declared = Optional[declared]  # noqa: UP045 # may be text or a variable
        required = each.init and each.default is attrs.NOTHING
        yield Field(each.name, declared, each.alias if each.init else None, required)


def _dataclass_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[Field]:
    for each in dataclasses.fields(cls):
        declared = hints.get(each.name, each.type)
        if each.default is None:
            declared = Optional[declared]  # noqa: UP045 # may be text or a variable
        defaults = (each.default, each.default_factory)
        required = each.init and defaults == (dataclasses.MISSING, dataclasses.MISSING)
        yield Field(each.name, declared, each.name if each.init else None, required)


def _named_tuple_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[Field]:
    for name in cls._fields:
        yield Field(name, hints.get(name, Any), name, name not in cls._field_defaults)


def _typed_dict_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[Field]:
    for name, declared in hints.items():
        mark = get_origin(declared)
        required = mark is Required or (name in cls.__required_keys__ and mark is not NotRequired)
        yield Field(name, declared, name, required)


_READERS: tuple[tuple[Callable[[Any], bool], Callable[..., Iterator[Field]]], ...] = (
    (attrs.has, _attrs_fields),
    (dataclasses.is_dataclass, _dataclass_fields),
    (is_named_tuple, _named_tuple_fields),
    (is_typed_dict, _typed_dict_fields),
)


def fields_of(declared: Any) -> tuple[Field, ...]:
    """Read the fields of a class, their types bound to its generic arguments."""
    cls, bound = class_of(declared), bindings(declared)
    read = next(read for is_one, read in _READERS if is_one(cls))
    return tuple(
        attrs.evolve(each, type=substitute(each.type, bound))
        for each in read(cls, hints_of(cls))
        if each.argument is not None or not each.name.startswith("_")
    )


def _encoder(declared: Any, hooks: Hooks) -> Encode:
    if is_typed_dict(declared):
        return _typed_dict_encoder(declared, hooks)
    cls = class_of(declared)

    @cache  # fields are read when first used, since a class may be a part of itself
    def plan() -> tuple[tuple[str, Any, Encode], ...]:
        return tuple(
            (each.name, _native_class(each, hooks), hooks.encoder(each.type))
            for each in fields_of(declared)
        )

    def encode(value: Any) -> Any:
        if value.__class__ is not cls:
            if isinstance(value, cls):
                return hooks.encoder(value.__class__)(value)
            value = from_mapping(value, declared, hooks)
        encoded = {}
        for name, native, encode_field in plan():
            inner = getattr(value, name, ABSENT)
            if inner.__class__ is native:
                encoded[name] = inner
            elif inner is not ABSENT:
                encoded[name] = within_field(name, encode_field, inner)
        return encoded

    return encode


def _native_class(field: Field, hooks: Hooks) -> Any:
    """Return the class of which a field's values need no conversion."""
    return field.type if hooks.is_native(field.type) else ABSENT


def from_mapping(value: Any, declared: Any, hooks: Hooks) -> Any:
    """Make an object where a ``Record`` or another mapping stands for it."""
    if not isinstance(value, Mapping):
        raise unexpected(name_of(declared), value)
    return hooks.decoder(declared)(dict(value))


def within_field(name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    """Convert the value of a field, noting its name if it does not fit."""
    try:
        return convert(value)
    except MismatchError as error:
        error.within(mismatch.field(name))
        raise


def _typed_dict_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)

    @cache
    def plan() -> Mapping[str, tuple[bool, Encode]]:
        return {
            each.name: (each.required, hooks.encoder(each.type)) for each in fields_of(declared)
        }

    def encode(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise unexpected(name, value)
        for key, (required, _) in plan().items():
            if required and key not in value:
                raise missing(key)
        encode_any = hooks.encoder(Any)
        return {
            key: within_field(key, plan().get(key, (False, encode_any))[1], inner)
            for key, inner in value.items()
        }

    return encode


def missing(name: str) -> MismatchError:
    """Say that a required field is not there."""
    return MismatchError("required, but missing").within(mismatch.field(name))


def _decoder(declared: Any, hooks: Hooks) -> Decode:
    name, cls = name_of(declared), class_of(declared)
    accepts_arrays = is_named_tuple(cls)

    @cache
    def plan() -> tuple[tuple[Field, ...], tuple[tuple[str, str | None, Any, Decode], ...]]:
        fields = fields_of(declared)
        return fields, tuple(
            (each.name, each.argument, _native_class(each, hooks), hooks.decoder(each.type))
            for each in fields
        )

    def decode(value: Any) -> Any:
        if value.__class__ is list and accepts_arrays:
            value = _named(cls, name, value)
        elif not isinstance(value, dict):
            raise unexpected(name, value)
        fields, steps = plan()
        arguments, afterwards = {}, {}
        for key, argument, native, decode_field in steps:
            inner = value.get(key, ABSENT)
            if inner is ABSENT:
                continue
            if inner.__class__ is not native:
                inner = within_field(key, decode_field, inner)
            if argument is None:
                afterwards[key] = inner
            else:
                arguments[argument] = inner
        if len(arguments) < len(fields):
            require(fields, arguments)
        made = construct(cls, arguments)
        return completed(made, afterwards) if afterwards else made

    return decode


def completed(made: Any, attributes: Mapping[str, Any]) -> Any:
    """Set what ``__init__`` did not take."""
    for name, value in attributes.items():
        object.__setattr__(made, name, value)  # past the guard of a frozen class
    return made


def require(fields: Iterable[Field], arguments: Mapping[str, Any]) -> None:
    """Raise an error for a field that ``__init__`` cannot do without."""
    for field in fields:
        if field.required and field.argument not in arguments:
            raise missing(field.name)


def _named(cls: Any, name: str, values: list[Any]) -> dict[str, Any]:
    if len(values) > len(cls._fields):
        raise MismatchError(f"expected {name}, got {len(values)} elements")
    return dict(zip(cls._fields, values, strict=False))


def construct(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """Make an object; what its own code raises becomes a mismatch with that as its cause."""
    try:
        return cls(**arguments)
    except Exception as error:  # a user's constructor may raise anything
        raise from_hook(error, f"{cls.__qualname__}, made from these values,") from error


OBJECT = Kind(
    claims=lambda declared: (
        is_class(declared) and any(is_one(class_of(declared)) for is_one, _ in _READERS)
    ),
    encoder=_encoder,
    decoder=_decoder,
    writes=always(dict),
)
