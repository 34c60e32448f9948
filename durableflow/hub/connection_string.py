"""Connection strings of the Durable Task Scheduler, taken apart; pure.

They are written as ADO.NET writes them: ``Name=value`` parts with semicolons between, names in any
case.  A value that holds a semicolon, or blanks at its ends, stands between quotes of either kind;
the same quote within is written twice.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from durableflow.errors import TaskHubAddressError

FORM: Final = "It reads Endpoint=https://...;Authentication=...;TaskHub=...."

_PART: Final = re.compile(
    r"""\s*(?P<name>[^=;'"]*[^=;'"\s])\s*=\s*
    (?:"(?P<double>(?:[^"]|"")*)"|'(?P<single>(?:[^']|'')*)'|(?P<plain>[^;'"][^;]*)?)
    \s*(?:;|$)""",
    re.VERBOSE,
)
_ENDPOINT: Final = re.compile(
    r"(?:(https?)://)?([\w.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?", re.IGNORECASE
)


@frozen
class Endpoint:
    """Where a scheduler listens.

    Attributes:
        target: ``host:port``.
        secure: Whether it speaks TLS.
    """

    target: str
    secure: bool

    def __str__(self) -> str:
        host, _, port = self.target.rpartition(":")
        scheme, usual = ("https", "443") if self.secure else ("http", "80")
        return f"{scheme}://{host}" if port == usual else f"{scheme}://{self.target}"


def parse_parts(text: str) -> dict[str, str]:
    """Return the parts of a connection string by lower-case name; the last of a name counts.

    Raises:
        TaskHubAddressError: it cannot be taken apart.  No value is shown.
    """
    parts: dict[str, str] = {}
    position = 0
    while position < len(text):
        if not text[position].strip(" \t;"):
            position += 1
            continue
        match = _PART.match(text, position)
        if match is None:
            raise TaskHubAddressError(
                f"A part of the connection string is not of the form Name=value. {FORM} A value "
                "with a semicolon or a quote in it stands between quotes."
            )
        parts[match["name"].lower()] = _value(match)
        position = match.end()
    return parts


def parse_endpoint(text: str) -> Endpoint:
    """Read an endpoint; one without a scheme speaks TLS.

    Raises:
        TaskHubAddressError: it is none.  It is not shown, since it may hold a password.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        raise TaskHubAddressError(
            "The connection string needs an Endpoint=https://host, and it has "
            f"{'another form' if text else 'none'}. {FORM}"
        )
    secure = (match[1] or "https").lower() == "https"
    port = match[3] or ("443" if secure else "80")
    if not 0 < int(port) < 65536:
        raise TaskHubAddressError("The port of the connection string's Endpoint= is none.")
    return Endpoint(f"{match[2]}:{int(port)}", secure)


def quoted(value: str) -> str:
    """Write a value as ``parse_parts`` reads it."""
    if not value or not (set(value) & set(";'\"") or value != value.strip()):
        return value
    return '"' + value.replace('"', '""') + '"'


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return match["double"].replace('""', '"')
    if match["single"] is not None:
        return match["single"].replace("''", "'")
    return (match["plain"] or "").strip()
