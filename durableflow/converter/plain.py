"""Classes without declared fields: those that convert themselves, and those of plain attributes.

A class with ``to_json`` or ``from_json`` is asked.  Others travel as an object of their public
attributes and are made again by ``__init__``, whose parameters must be found among them; what it
does not take is set afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

import attrs

from durableflow.converter import mismatch
from durableflow.converter.annotations import (
    bindings,
    class_of,
    hints_of,
    is_class,
    is_foreign,
    name_of,
    parameters_of,
    substitute,
)
from durableflow.converter.kind import JSON_CLASSES, Decode, Encode, Hooks, Kind, always
from durableflow.converter.mismatch import MismatchError, from_hook, unexpected
from durableflow.converter.objects import (
    ABSENT,
    OBJECT,
    Field,
    completed,
    construct,
    from_mapping,
    require,
    within_field,
)

# Classes that convert themselves


def _has(declared: Any, method: str) -> bool:
    return is_class(declared) and callable(getattr(class_of(declared), method, None))


def _self_encoder(declared: Any, hooks: Hooks) -> Encode:
    name, cls = name_of(declared), class_of(declared)
    if not _has(cls, "to_json"):
        return _fallback(declared).encoder(declared, hooks)

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            raise unexpected(name, value)
        try:
            # By the class, so that a static method serves as well.
            written = type(value).to_json(value)
        except Exception as error:  # a user's method may raise anything
            raise from_hook(error, f"{name}.to_json") from error
        return hooks.encoder(Any)(written)

    return encode


def _self_decoder(declared: Any, hooks: Hooks) -> Decode:
    name, cls = name_of(declared), class_of(declared)
    if not _has(cls, "from_json"):
        return _fallback(declared).decoder(declared, hooks)

    def decode(value: Any) -> Any:
        try:
            return cls.from_json(value)
        except Exception as error:  # a user's method may raise anything
            raise from_hook(error, f"{name}.from_json") from error

    return decode


def _fallback(declared: Any) -> Kind:
    return OBJECT if OBJECT.claims(declared) else PLAIN_OBJECT


SELF_CONVERTING = Kind(
    claims=lambda declared: _has(declared, "to_json") or _has(declared, "from_json"),
    encoder=_self_encoder,
    decoder=_self_decoder,
    writes=always(*JSON_CLASSES),
)


# Classes of plain attributes


def _is_plain(declared: Any) -> bool:
    cls = class_of(declared)
    if not is_class(declared) or issubclass(cls, type | BaseException):
        return False
    return cls is SimpleNamespace or not is_foreign(cls)


def _parameters(cls: Any, types: Mapping[str, Any]) -> Iterator[Field]:
    hints = {**types, **hints_of(cls.__init__)}
    for each in parameters_of(cls):
        if each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            continue
        declared, required = hints.get(each.name, Any), each.default is inspect.Parameter.empty
        if each.default is None:
            declared |= None
        yield Field(each.name, declared, each.name, required)


def _fields_of(declared: Any) -> list[Field]:
    cls, bound = class_of(declared), bindings(declared)
    types = hints_of(cls)
    fields = {each.name: each for each in _parameters(cls, types)}
    for name, hint in types.items():
        if not name.startswith("_"):
            fields.setdefault(name, Field(name, hint, None, required=False))
    return [attrs.evolve(each, type=substitute(each.type, bound)) for each in fields.values()]


def _own_attributes(value: Any) -> list[str]:
    """List the public attributes that an object holds itself: slots, then the others."""
    names: list[str] = []
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        names.extend((slots,) if isinstance(slots, str) else slots)
    names.extend(getattr(value, "__dict__", ()))
    return [name for name in names if not name.startswith("_")]


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, ABSENT)
    except Exception as error:  # a property is a user's code, which may raise anything
        raise from_hook(error, "it").within(mismatch.field(name)) from error


def _plain_encoder(declared: Any, hooks: Hooks) -> Encode:
    name, cls, encode_any = name_of(declared), class_of(declared), hooks.encoder(Any)
    if _is_protocol(cls):
        return encode_any

    @cache  # fields are read when first used, since a class may be a part of itself
    def plan() -> Mapping[str, tuple[Field, Encode]]:
        return {each.name: (each, hooks.encoder(each.type)) for each in _fields_of(declared)}

    def encode(value: Any) -> Any:
        if value.__class__ is not cls:
            if isinstance(value, cls):
                return hooks.encoder(value.__class__)(value)
            value = from_mapping(value, declared, hooks)
        encoded = {}
        for attribute in dict.fromkeys((*plan(), *_own_attributes(value))):
            field, encode_field = plan().get(attribute, (None, encode_any))
            inner = _attribute(value, attribute)
            if inner is not ABSENT:
                encoded[attribute] = within_field(attribute, encode_field, inner)
            elif field is not None and field.required:
                raise MismatchError(
                    f"{name} has no attribute '{attribute}', which its __init__ takes; "
                    "give it one, or give the class to_json and from_json"
                )
        return encoded

    return encode


def _is_protocol(cls: Any) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def _plain_decoder(declared: Any, hooks: Hooks) -> Decode:
    name, cls = name_of(declared), class_of(declared)
    decode_any = hooks.decoder(Any)

    @cache
    def plan() -> Mapping[str, tuple[Field, Decode]]:
        return {each.name: (each, hooks.decoder(each.type)) for each in _fields_of(declared)}

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise unexpected(name, value)
        if inspect.isabstract(cls) or _is_protocol(cls):
            raise MismatchError(f"{name} is abstract; declare a class that can be made")
        arguments = {
            field.name: within_field(field.name, decode_field, value[field.name])
            for field, decode_field in plan().values()
            if field.argument is not None and field.name in value
        }
        require((field for field, _ in plan().values()), arguments)
        made = construct(cls, arguments)
        settable = {*plan(), *_own_attributes(made)} - arguments.keys()
        afterwards = {}
        for attribute in value:
            if attribute in settable or cls is SimpleNamespace:
                decode_field = plan()[attribute][1] if attribute in plan() else decode_any
                afterwards[attribute] = within_field(attribute, decode_field, value[attribute])
        return completed(made, afterwards)

    return decode


PLAIN_OBJECT = Kind(
    claims=_is_plain,
    encoder=_plain_encoder,
    decoder=_plain_decoder,
    writes=always(dict),
)
