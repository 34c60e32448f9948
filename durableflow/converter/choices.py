"""Enums and literals: values out of a fixed set.

An enum member travels as its value, and is found again by the JSON that its value becomes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any, get_args

from durableflow.converter.annotations import is_literal, name_of
from durableflow.converter.kind import Decode, Encode, Hooks, Kind
from durableflow.converter.mismatch import MismatchError, unexpected


def _mark(value: Any) -> Any:
    """Return what tells JSON values apart as keys of a dict, where 1, 1.0 and True are equal."""
    if value.__class__ in (list, dict):
        return json.dumps(value, sort_keys=True)
    return value.__class__, value


def _is_enum(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, Enum)


def _encode_value(value: Any, hooks: Hooks) -> Any:
    inner = value.value if isinstance(value, Enum) else value
    return hooks.encoder(inner.__class__)(inner)


def _written_classes(values: Iterable[Any], hooks: Hooks) -> frozenset[type]:
    return frozenset(type(_encode_value(value, hooks)) for value in values)


def _enum_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)

    def encode(value: Any) -> Any:
        if not isinstance(value, declared):
            raise unexpected(name, value)
        return _encode_value(value, hooks)

    return encode


def _enum_decoder(declared: Any, hooks: Hooks) -> Decode:
    name = name_of(declared)
    members = declared.__members__.values()
    by_mark = {_mark(_encode_value(member, hooks)): member for member in members}

    def decode(value: Any) -> Any:
        member = by_mark.get(_mark(value))
        if member is not None:
            return member
        if value.__class__ is bool:  # which equals 0 or 1
            raise unexpected(name, value)
        try:
            return declared(value)  # a combination of flags, or what ``_missing_`` finds
        except (ValueError, TypeError):
            raise MismatchError(f"expected {name}, got another value") from None

    return decode


ENUM = Kind(
    claims=_is_enum,
    encoder=_enum_encoder,
    decoder=_enum_decoder,
    writes=lambda declared, hooks: _written_classes(declared.__members__.values(), hooks),
)


def _literal_encoder(declared: Any, hooks: Hooks) -> Encode:
    name = name_of(declared)
    by_value = {(type(value), value): _encode_value(value, hooks) for value in get_args(declared)}

    def encode(value: Any) -> Any:
        try:
            return by_value[value.__class__, value]
        except (KeyError, TypeError):
            raise MismatchError(f"expected {name}, got another value") from None

    return encode


def _literal_decoder(declared: Any, hooks: Hooks) -> Decode:
    name = name_of(declared)
    by_mark = {_mark(_encode_value(value, hooks)): value for value in get_args(declared)}

    def decode(value: Any) -> Any:
        try:
            return by_mark[_mark(value)]
        except KeyError:
            raise MismatchError(f"expected {name}, got another value") from None

    return decode


LITERAL = Kind(
    claims=is_literal,
    encoder=_literal_encoder,
    decoder=_literal_decoder,
    writes=lambda declared, hooks: _written_classes(get_args(declared), hooks),
)
