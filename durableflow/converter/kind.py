"""What the conversion of one kind of types consists of, and what it may ask of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs

from durableflow.converter.annotations import NoneType

Encode = Callable[[Any], Any]
"""From a value to plain JSON: None, bool, int, float, str, and lists and dicts of them."""

Decode = Callable[[Any], Any]
"""From plain JSON to a value."""

JSON_CLASSES = frozenset({NoneType, bool, int, float, str, list, dict})

# Values of these classes are JSON as they are.  (A float may be NaN, which JSON lacks.)
PLAIN = frozenset({NoneType, bool, int, str})


class Hooks(Protocol):
    """Conversions by type, the users' own first; see ``hooks``."""

    def encoder(self, declared: Any) -> Encode:
        """Return what turns values of a type into plain JSON."""

    def decoder(self, declared: Any) -> Decode:
        """Return what turns plain JSON into values of a type."""

    def writes(self, declared: Any) -> frozenset[type]:
        """Return the classes of JSON values that a type may become."""

    def is_native(self, declared: Any) -> bool:
        """Whether values of exactly this class are their own JSON, in both directions."""


@attrs.frozen
class Kind:
    """One kind of types.  All functions get the declared type, generic arguments included.

    Attributes:
        claims: Whether a type is of this kind.
        encoder: Builds an encoder, which refuses values that are not of the type.
        decoder: Builds a decoder, which refuses JSON that does not fit.
        writes: Which classes of JSON values the encoder may return.
    """

    claims: Callable[[Any], bool]
    encoder: Callable[[Any, Hooks], Encode]
    decoder: Callable[[Any, Hooks], Decode]
    writes: Callable[[Any, Hooks], frozenset[type]]


def always(*classes: type) -> Callable[[Any, Hooks], frozenset[type]]:
    """Make the ``writes`` of a kind whose types all become the same JSON classes."""
    written = frozenset(classes)
    return lambda declared, hooks: written
