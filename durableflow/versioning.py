"""Versions: text that orders as people expect, and what routing says about it; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, TypeAlias

import attrs
from packaging.version import Version as ParsedVersion

_TOKEN: Final = re.compile(r"[0-9]+|[^0-9.\-_+\s]+")
_DIGITS: Final = "0123456789"
_PRE_RELEASES: Final = {
    "dev": 0,
    "snapshot": 0,
    "a": 1,
    "alpha": 1,
    "b": 2,
    "beta": 2,
    "c": 3,
    "pre": 3,
    "preview": 3,
    "rc": 3,
}

_Part: TypeAlias = tuple[int, int, str]
_END: Final[_Part] = (1, 0, "")
_LOCAL: Final[_Part] = (1, 1, "")
_WORD: Final = 2
_NUMBER: Final = 3
_ZERO: Final[_Part] = (_NUMBER, 0, "")


class Version(str):
    """A version, as text.

    ``==`` and the hash are the text's own: routing means exactly this version.  ``<``, ``<=``,
    ``>`` and ``>=`` order as versions do, against plain strings too: numbers by value
    (``10.0.0`` after ``9.0.0``), pre-releases before their release, and ``1.0`` neither before
    nor after ``1.0.0``.  What ``packaging`` reads orders as it says; other text by its numbers
    and words.  The empty text is an absent version: falsy, and before all others.
    """

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return _key(self) < _key(other) if isinstance(other, str) else NotImplemented

    def __le__(self, other: str) -> bool:
        return _key(self) <= _key(other) if isinstance(other, str) else NotImplemented

    def __gt__(self, other: str) -> bool:
        return _key(self) > _key(other) if isinstance(other, str) else NotImplemented

    def __ge__(self, other: str) -> bool:
        return _key(self) >= _key(other) if isinstance(other, str) else NotImplemented


@attrs.frozen
class VersionRequest:
    """A worker asks which function should run an orchestration instance.

    Attributes:
        name: The orchestrator's name.
        version: The version stamped on the instance at its start; None if it has none.
        instance_id: The instance.
    """

    name: str
    version: str | None
    instance_id: str


@attrs.frozen
class Run:
    """Run the instance with the function registered under this version (None: without one)."""

    version: str | None


@attrs.frozen
class Abandon:
    """Leave the instance waiting, for another worker or a later deployment."""

    reason: str


@attrs.frozen
class Fail:
    """Fail the instance."""

    reason: str


Resolution: TypeAlias = Run | Abandon | Fail


def is_same_major(one: str, other: str) -> bool:
    """Whether two versions begin with the same number, as ``1.2`` and ``1.10.3`` do."""
    return bool(one) and bool(other) and _major(one) == _major(other)


def is_same_release(one: str, other: str) -> bool:
    """Whether neither version is before the other, as with ``1.0`` and ``1.0.0``."""
    return _key(one) == _key(other)


@lru_cache(maxsize=1024)
def _key(text: str) -> tuple[_Part, ...]:
    """Build what versions are compared by; the same parts for all texts, so all have an order.

    A part that names a pre-release is less than the end, the end is less than other words, and
    words are less than numbers: ``1.0rc1 < 1.0 < 1.0.post1 < 1.0.1``.
    """
    if not text:
        return ()
    try:
        parsed = ParsedVersion(text)
    except ValueError:  # also where a number has more digits than Python reads
        return _natural_key(text)
    return (_number(parsed.epoch), *_significant(map(_number, parsed.release)), *_suffix(parsed))


def _suffix(version: ParsedVersion) -> Iterator[_Part]:
    """Yield the parts after the release.  Source: the version specifiers specification."""
    if version.pre is not None:
        yield from (_part(version.pre[0]), _number(version.pre[1]))
    if version.post is not None:
        yield from (_part("post"), _number(version.post))
    if version.dev is not None:
        yield from (_part("dev"), _number(version.dev))
    if version.local is not None:
        yield _LOCAL
        for segment in version.local.split("."):
            # A local segment is no pre-release, whatever it is called.
            yield _part(segment) if segment[0] in _DIGITS else (_WORD, 0, segment)
    yield _END


def _natural_key(text: str) -> tuple[_Part, ...]:
    tokens = _TOKEN.findall(text.casefold())
    if len(tokens) > 1 and tokens[0] == "v" and tokens[1][0] in _DIGITS:
        del tokens[0]
    parts = [_part(token) for token in tokens]
    release = next((i for i, part in enumerate(parts) if part[0] != _NUMBER), len(parts))
    return (_ZERO, *_significant(parts[:release]), *parts[release:], _END)


def _significant(release: Iterable[_Part]) -> list[_Part]:
    """Leave out the zeros at the end of a release."""
    parts = list(release)
    while parts and parts[-1] == _ZERO:
        del parts[-1]
    return parts


def _major(text: str) -> tuple[_Part, ...]:
    epoch, first = _key(text)[:2]
    return (epoch, first if first[0] == _NUMBER else _ZERO)


def _number(value: int) -> _Part:
    return _part(str(value))


def _part(token: str) -> _Part:
    if token[0] in _DIGITS:
        # By length, then by digits: as by value, and without a limit to the number of digits.
        digits = token.lstrip("0")
        return (_NUMBER, len(digits), digits)
    if token in _PRE_RELEASES:
        return (0, _PRE_RELEASES[token], "")
    return (_WORD, 0, token)
