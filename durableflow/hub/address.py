"""Task-hub addresses and connection strings, parsed; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

from durableflow.errors import TaskHubAddressError
from durableflow.hub.connection_string import parse_endpoint, parse_parts, quoted

SCHEDULER: Final = "dts"
"""The scheme of Durable Task Scheduler connection strings, which name none."""

_EXAMPLES: Final = (
    "Examples: sqlite:///orders.db (a file in the app's folder), sqlite:////srv/orders.db, "
    "sqlite:// (in memory), grpc://localhost:4001, grpcs://hub.example.com:443, "
    "Endpoint=https://my-scheduler.westus2.durabletask.io;Authentication=DefaultAzure;TaskHub=orders."
)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-f:.]+\]|[\w.-]+):([0-9]{1,5})", re.IGNORECASE)
_SHOWN_OPTIONS: Final = {"authentication": "Authentication", "taskhub": "TaskHub"}
_HOST_OPTIONS: Final = ("engine", "versions")


@attrs.frozen(kw_only=True)
class TaskHubAddress:
    """Where a task hub is.

    Attributes:
        scheme: Chooses the engine: ``sqlite``, ``grpc``, ``grpcs``, ``dts`` or one of a plugin.
        text: The address for people: absolute, and without secrets.
        path: The file, absolute; None where there is none (``sqlite://`` is in memory).
        target: What is connected to: ``host:port``, or what a plugin's scheme is followed by;
            None where nothing is.
        secure: Whether it is reached over TLS.
        options: The other parts of a connection string, and what follows the question mark of a
            ``grpc`` address, by lower-case name.  May hold secrets.
    """

    scheme: str
    text: str
    path: Path | None = None
    target: str | None = attrs.field(default=None, repr=False)
    secure: bool = False
    options: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def parse_task_hub_address(text: str, *, root: Path) -> TaskHubAddress:
    """Parse an address; nothing is opened or looked up.

    Args:
        text: As a setting gives it.
        root: Absolute; relative files belong to it.

    Raises:
        TaskHubAddressError: it cannot be understood; says what to write.
    """
    if not isinstance(text, str):
        raise TaskHubAddressError(
            f"A task-hub address is text, not {type(text).__name__}. {_EXAMPLES}"
        )
    address = text.strip()
    if any(ord(character) < 32 for character in address):
        raise TaskHubAddressError("A task-hub address contains a control character.")
    match = _SCHEME.fullmatch(address)
    if match is None or "=" in match[1]:
        if re.match(r"\s*\w+\s*=", address):
            return _parse_connection_string(address)
        raise TaskHubAddressError(_without_scheme(address))
    scheme, rest = match[1].lower(), match[2]
    if scheme == "sqlite":
        return _parse_file(address, rest, root)
    if scheme in ("grpc", "grpcs"):
        return _parse_host(scheme, rest)
    if scheme in ("http", "https"):
        raise TaskHubAddressError(
            f"'{_redacted(scheme, rest)}' is a web address. A task hub that speaks gRPC is "
            f"'{'grpcs' if scheme == 'https' else 'grpc'}://host:port'. {_EXAMPLES}"
        )
    return TaskHubAddress(scheme=scheme, text=_redacted(scheme, rest), target=rest)


def unknown_scheme(address: TaskHubAddress, known: Iterable[str]) -> TaskHubAddressError:
    """Make the error for a scheme that no plugin serves."""
    if address.scheme == "dapr":
        return TaskHubAddressError(
            f"'{address.text}': Dapr Workflow speaks a dialect of the protocol that this version "
            f"does not speak. {_EXAMPLES}"
        )
    if address.scheme == SCHEDULER:
        return TaskHubAddressError(
            f"'{address.text}' is a Durable Task Scheduler, which no plugin of this app serves. "
            f"{_EXAMPLES}"
        )
    schemes = ", ".join(f"{scheme}://" for scheme in sorted(known)) or "none"
    return TaskHubAddressError(
        f"No plugin of this app serves the task hub '{address.text}'; there are {schemes}. "
        f"{_EXAMPLES}"
    )


def _without_scheme(address: str) -> str:
    if not address:
        return f"The task-hub address is empty. {_EXAMPLES}"
    if _HOST_AND_PORT.fullmatch(address):
        guess = f" Did you mean grpc://{address}?"
    elif re.fullmatch(r"[\w./\\ -]+", address):
        guess = f" Did you mean sqlite:///{address}?"
    else:
        guess = ""
    return f"'{_redacted('', address)}' is no task-hub address.{guess} {_EXAMPLES}"


def _parse_file(address: str, rest: str, root: Path) -> TaskHubAddress:
    if not rest:
        return TaskHubAddress(scheme="sqlite", text="sqlite://")
    if rest == "/:memory:" or rest == ":memory:":
        raise TaskHubAddressError(f"'{address}': a hub in memory is written sqlite://.")
    if not rest.startswith("/"):
        raise TaskHubAddressError(
            f"'{address}' has two slashes before the file. A file in the app's folder has three: "
            f"sqlite:///{rest}; an absolute one has four: sqlite:////srv/{rest}."
        )
    name = rest[1:]
    if not name.strip("/. ") or name.endswith("/"):
        raise TaskHubAddressError(f"'{address}' names no file. {_EXAMPLES}")
    if "?" in name or "#" in name:
        raise TaskHubAddressError(
            f"'{address}': the address of a file takes no options; '?' and '#' cannot be part "
            "of its name. Settings such as synchronous= are given to the app."
        )
    path = root / name
    return TaskHubAddress(scheme="sqlite", text=f"sqlite:///{path}", path=path)


def _parse_host(scheme: str, rest: str) -> TaskHubAddress:
    if "@" in rest:
        raise TaskHubAddressError(
            f"'{_redacted(scheme, rest)}' contains credentials, which an address cannot carry."
        )
    place, _, query = rest.partition("?")
    host_and_port = place.rstrip("/")
    match = _HOST_AND_PORT.fullmatch(host_and_port)
    if match is None:
        raise TaskHubAddressError(
            f"'{_redacted(scheme, rest)}' is not of the form {scheme}://host:port, "
            f"for example {scheme}://localhost:4001."
        )
    if not 0 < int(match[2]) < 65536:
        raise TaskHubAddressError(f"'{scheme}://{host_and_port}': a port is between 1 and 65535.")
    address = f"{scheme}://{host_and_port}"
    options = _parse_host_options(address, query)
    shown = "&".join(f"{name}={value}" for name, value in options.items())
    return TaskHubAddress(
        scheme=scheme,
        text=f"{address}?{shown}" if shown else address,
        target=host_and_port,
        secure=scheme == "grpcs",
        options=options,
    )


def _parse_host_options(address: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name.lower() not in _HOST_OPTIONS or not re.fullmatch(r"[\w-]+", value):
            raise TaskHubAddressError(
                f"What follows the question mark of '{address}' is not understood. It takes "
                f"{' and '.join(f'{option}=' for option in _HOST_OPTIONS)}, for example "
                f"{address}?engine=durabletask-go."
            )
        options[name.lower()] = value
    return options


def _parse_connection_string(address: str) -> TaskHubAddress:
    """Parse ``Endpoint=…;Authentication=…;TaskHub=…``."""
    options = parse_parts(address)
    endpoint = parse_endpoint(options.pop("endpoint", ""))
    shown = [f"Endpoint={endpoint}"]
    shown += [
        f"{label}={quoted(options[name])}"
        for name, label in _SHOWN_OPTIONS.items()
        if name in options
    ]
    return TaskHubAddress(
        scheme=SCHEDULER,
        text=";".join(shown),
        target=endpoint.target,
        secure=endpoint.secure,
        options=options,
    )


def _redacted(scheme: str, rest: str) -> str:
    """Return an address without what may be a secret: user, password and query."""
    shown = rest.partition("?")[0].rpartition("@")[2]
    return f"{scheme}://{shown}" if scheme else shown
