"""The converter of an app: values to the JSON text of payloads, and back.

What it promises:

- *Text that is the same whenever the value is*, in every process: sets are sorted, objects have
  their fields in the order of declaration, mappings keep the order that they have.  (Two dicts
  that are equal but differ in order are two texts.)
- *No surprises.*  A value that does not fit its declared type is refused where it is written, and
  JSON that does not fit is refused where it is read.  Nothing is guessed, cut off or rounded.
- *Plain JSON* that any other program can read.
- *Errors that say where*, and that hold no part of the value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import cattrs

from durableflow.converter.annotations import name_of
from durableflow.converter.hooks import TypeHooks, UserHooks
from durableflow.converter.mismatch import MismatchError
from durableflow.converter.record import Record
from durableflow.errors import ConversionError

# Older Durable Task SDKs for Python add this key to the objects that they write.
LEGACY_MARKER = "__durabletask_autoobject__"


def _refuse_constant(name: str) -> NoReturn:
    raise MismatchError(f"JSON has no {name}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MismatchError("a number is too large for a float")
    return number


def _without_marker(members: dict[str, Any]) -> dict[str, Any]:
    members.pop(LEGACY_MARKER, None)
    return members


def _parser(decoder: json.JSONDecoder) -> Callable[[str], Any]:
    """Return a function that parses as a decoder does, at a third of its cost for small texts."""
    decode = decoder.decode
    scan = decoder.scan_once  # type: ignore[attr-defined] # json itself calls it; typeshed has no name for it

    def parse(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:  # white space, or no JSON
            return decode(text)
        return value if end == len(text) else decode(text)

    return parse


# Floats beyond all bounds are caught here where no type is declared, and by the types elsewhere.
_parse = _parser(json.JSONDecoder(parse_constant=_refuse_constant))
_parse_records = _parser(
    json.JSONDecoder(object_hook=Record, parse_constant=_refuse_constant, parse_float=_finite)
)
_parse_legacy = _parser(
    json.JSONDecoder(
        object_hook=_without_marker, parse_constant=_refuse_constant, parse_float=_finite
    )
)

_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_write_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Converter:
    """Turns values into JSON text and back, by declared type.  May be used on any thread.

    Attributes:
        cattrs: Where users register hooks for types of their own.
    """

    def __init__(self, configure: Iterable[Callable[[cattrs.Converter], None]] = ()) -> None:
        self.cattrs: cattrs.Converter = UserHooks()
        self._hooks = TypeHooks(self.cattrs)
        for teach in configure:
            teach(self.cattrs)
        self._native = frozenset(cls for cls in (str, int, bool) if self._hooks.is_native(cls))

    def dumps(self, value: Any, declared: Any = Any, *, where: str) -> str | None:
        """Write a value as JSON text; None is an absent payload.

        Args:
            value: The value.
            declared: Its type; Any means the class that it has.
            where: What this is, for errors: ``input of activity 'charge'``.

        Raises:
            ConversionError: the value is not of the type, or JSON cannot carry it.
        """
        if value is None:
            return None
        try:
            if value.__class__ not in self._native or declared not in (value.__class__, Any):
                value = self._hooks.encoder(declared)(value)
            text = _write(value)
            return text if text.isascii() else _encodable(text, value)
        except MismatchError as error:
            raise _conversion_error(where, declared, error) from error.__cause__
        except (RecursionError, ValueError, TypeError) as error:
            raise _conversion_error(where, declared, MismatchError(_reason(error))) from error

    def loads(self, text: str | None, declared: Any = Any, *, where: str) -> Any:
        """Read a value from JSON text; an absent payload is None.

        Args:
            text: The text.
            declared: The type to make; Any means plain JSON with objects as ``Record``.
            where: What this is, for errors: ``result of activity 'charge'``.

        Raises:
            ConversionError: the text is no JSON, or the JSON does not fit the type.
        """
        if not text:
            return None
        try:
            if LEGACY_MARKER in text:
                parsed = _parse_legacy(text)
            elif declared is Any:
                return _parse_records(text)
            else:
                parsed = _parse(text)
            if declared is parsed.__class__ and declared in self._native:
                return parsed
            return self._hooks.decoder(declared)(parsed)
        except MismatchError as error:
            raise _conversion_error(where, declared, error) from error.__cause__
        except (RecursionError, ValueError, TypeError) as error:
            raise _conversion_error(where, declared, MismatchError(_reason(error))) from error


def _encodable(text: str, value: Any) -> str:
    """Return text that can be sent as UTF-8, which halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _write_ascii(value)
    return text


def _conversion_error(where: str, declared: Any, error: MismatchError) -> ConversionError:
    at = f" at {error.path}" if error.path else ""
    # Without a path the reason names the type itself.
    whole = f" ({name_of(declared)})" if at and declared is not Any else ""
    return ConversionError(f"Cannot convert {where}{whole}{at}: {error.reason}.", path=error.path)


def _reason(error: Exception) -> str:
    """Say what Python's own JSON found, which never quotes the value."""
    if isinstance(error, RecursionError):
        return "it contains itself, or is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg}, character {error.pos})"
    return f"JSON cannot carry it ({error})"
