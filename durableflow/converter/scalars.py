"""Numbers, text and what travels as one of them: times, UUIDs, decimals, bytes, paths.

Reading is strict: ``"1"`` is no int, ``1`` is no bool, and ``1.5`` is no int.  An int is a float.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

import attrs

from durableflow.converter.annotations import NoneType, class_of, is_class, name_of
from durableflow.converter.kind import Decode, Encode, Hooks, Kind
from durableflow.converter.mismatch import MismatchError, type_of, unexpected

# Classes whose values are their own JSON in both directions.
NATIVE = frozenset({str, int, bool})


@attrs.frozen
class Scalar:
    """How the values of a class, and of its subclasses, travel.

    Attributes:
        written: The classes of JSON values they become.
        read: The classes of JSON values they are made from.
        write: Makes the JSON value; raises ``ValueError`` with a reason.
        make: Makes a value of the given class; may raise ``ValueError`` and the like.
    """

    written: frozenset[type]
    read: frozenset[type]
    write: Callable[[Any], Any]
    make: Callable[[Any, Any], Any]


def _itself(value: Any) -> Any:
    return value


def _call(cls: Any, value: Any) -> Any:
    return cls(value)


def _from_isoformat(cls: Any, text: str) -> Any:
    return cls.fromisoformat(text)


def _write_float(value: float) -> float:
    if not isfinite(value):
        raise ValueError("JSON has no NaN and no infinity")
    return float(value)


def _make_float(cls: Any, value: Any) -> Any:
    made = cls(value)
    if not isfinite(made):  # JSON can spell numbers that are too large for a float
        raise ValueError
    return made


def _write_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError("JSON has no NaN and no infinity")
    return str(value)


def _make_decimal(cls: Any, value: Any) -> Any:
    # The shortest text of a float is what its sender wrote.
    made = cls(str(value))
    if not made.is_finite():
        raise ValueError
    return made


def _write_seconds(value: timedelta) -> int | float:
    seconds = value.total_seconds()
    if timedelta(seconds=seconds) != value:
        raise ValueError("it is too long to keep its microseconds")
    return int(seconds) if seconds.is_integer() else seconds


def _write_bytes(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _make_bytes(cls: Any, text: str) -> Any:
    return cls(b64decode(text, validate=True))


_TEXT = frozenset({str})
_NUMBER = frozenset({int, float})


def _native(cls: type) -> Scalar:
    return Scalar(frozenset({cls}), frozenset({cls}), _itself, _call)


def _text(write: Callable[[Any], str], make: Callable[[Any, Any], Any]) -> Scalar:
    return Scalar(_TEXT, _TEXT, write, make)


# Subclasses before their bases: a bool is an int, and a datetime a date.
SCALARS: dict[type, Scalar] = {
    NoneType: Scalar(frozenset({NoneType}), frozenset({NoneType}), _itself, lambda cls, _: None),
    bool: _native(bool),
    int: _native(int),
    float: Scalar(frozenset({float}), _NUMBER, _write_float, _make_float),
    str: _native(str),
    datetime: _text(datetime.isoformat, _from_isoformat),
    date: _text(date.isoformat, _from_isoformat),
    time: _text(time.isoformat, _from_isoformat),
    timedelta: Scalar(_NUMBER, _NUMBER, _write_seconds, lambda cls, value: cls(seconds=value)),
    Decimal: Scalar(_TEXT, _TEXT | _NUMBER, _write_decimal, _make_decimal),
    UUID: _text(str, _call),
    bytes: _text(_write_bytes, _make_bytes),
    bytearray: _text(_write_bytes, _make_bytes),
    PurePath: _text(str, _call),
}


def _base_of(cls: type) -> type | None:
    return next((base for base in SCALARS if issubclass(cls, base)), None)


def _claims(declared: Any) -> bool:
    return is_class(declared) and _base_of(class_of(declared)) is not None


def _scalar_of(declared: Any) -> Scalar:
    cls = class_of(declared)
    return next(scalar for base, scalar in SCALARS.items() if issubclass(cls, base))


def _encoder(declared: Any, hooks: Hooks) -> Encode:
    base, write, name = _base_of(class_of(declared)), _scalar_of(declared).write, name_of(declared)
    accepted: tuple[Any, ...] = (base, int) if base is float else (base,)

    def encode(value: Any) -> Any:
        actual = value.__class__
        if actual is not base and (
            not isinstance(value, accepted) or _base_of(actual) not in accepted
        ):
            raise unexpected(name, value)
        try:
            return write(value)
        except (ValueError, OverflowError) as error:
            raise MismatchError(f"this {name} cannot travel: {error}") from None

    return encode


def _decoder(declared: Any, hooks: Hooks) -> Decode:
    scalar = _scalar_of(declared)
    read, make, cls, name = scalar.read, scalar.make, class_of(declared), name_of(declared)

    def decode(value: Any) -> Any:
        actual = value.__class__
        if actual is cls and actual in NATIVE:
            return value
        if actual not in read:
            raise unexpected(name, value)
        try:
            return make(cls, value)
        except (ValueError, TypeError, ArithmeticError):
            raise MismatchError(f"expected {name}, got {type_of(value)} of another form") from None

    return decode


SCALAR = Kind(
    claims=_claims,
    encoder=_encoder,
    decoder=_decoder,
    writes=lambda declared, hooks: _scalar_of(declared).written,
)
