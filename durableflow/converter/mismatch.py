"""A value that does not fit its type: why, and where in the whole it is.

Reasons name types and fields, never values: a payload may hold secrets, and errors end in logs.
"""

from __future__ import annotations

from typing import Any, Self

from cattrs.errors import AttributeValidationNote, BaseValidationError, IterableValidationNote

_LONGEST_KEY = 40


class MismatchError(Exception):
    """Raised inside the converter; every caller of it sees a ``ConversionError`` instead."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._outwards: list[str] = []

    @property
    def path(self) -> str:
        """Where the value is, for example ``order.items[2].price``; ``""`` is the whole."""
        return "".join(reversed(self._outwards)).removeprefix(".")

    def within(self, segment: str) -> Self:
        """Note one step outwards, as made by ``field``, ``index`` or ``key``."""
        self._outwards.append(segment)
        return self


def field(name: str) -> str:
    """Make the step of a path to a field of an object."""
    return f".{name}"


def index(position: int) -> str:
    """Make the step of a path to an element of an array."""
    return f"[{position}]"


def key(value: object) -> str:
    """Make the step of a path to a value of a mapping."""
    text = str(value)
    return f"[{text if len(text) <= _LONGEST_KEY else text[:_LONGEST_KEY] + '…'!r}]"


def unexpected(expected: str, value: object) -> MismatchError:
    """Say that a value is not of the type it should have."""
    return MismatchError(f"expected {expected}, got {type_of(value)}")


def type_of(value: object) -> str:
    """Name a value's type for people."""
    return "None" if value is None else type(value).__qualname__


def from_hook(error: Exception, what: str) -> MismatchError:
    """Turn whatever a user's hook or constructor raised into a mismatch.

    cattrs' own hooks group their errors and note the fields on them; the first one is told.
    """
    steps: list[str] = []
    while isinstance(error, BaseValidationError):
        error = error.exceptions[0]
        steps.extend(_noted_step(note) for note in getattr(error, "__notes__", ()))
    if isinstance(error, MismatchError):
        mismatch = error
    else:
        mismatch = MismatchError(f"{what} raised {type(error).__qualname__}")
        mismatch.__cause__ = error
    for step in reversed(steps):
        mismatch.within(step)
    return mismatch


def _noted_step(note: Any) -> str:
    if isinstance(note, AttributeValidationNote):
        return field(note.name)
    if isinstance(note, IterableValidationNote):
        return index(note.index) if isinstance(note.index, int) else key(note.index)
    return ""
