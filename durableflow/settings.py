"""Settings: from arguments, the environment and ``durableflow.toml``, each with its origin."""

from __future__ import annotations

import difflib
import os
import stat
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, TypedDict

import attrs

from durableflow.errors import SettingsError
from durableflow.protocol.sizes import DEFAULT_MAX_PAYLOAD_BYTES

FILE_NAME: Final = "durableflow.toml"
PREFIX: Final = "DURABLEFLOW_"
PLUGINS_PREFIX: Final = "DURABLEFLOW_PLUGINS_"
SWITCHES: Final[Mapping[str, bool]] = {
    "1": True,
    "true": True,
    "on": True,
    "yes": True,
    "0": False,
    "false": False,
    "off": False,
    "no": False,
}
DEFAULT: Final = "default"
_MOST_ON_THE_WIRE: Final = 2**31 - 1

OnNondeterminism: TypeAlias = Literal["park", "fail"]
DeterminismGuards: TypeAlias = Literal["off", "warn", "raise"]
Synchronous: TypeAlias = Literal["full", "normal"]


class _Kind(Protocol):
    """What a setting takes."""

    @property
    def expected(self) -> str:
        """For people: "must be …"."""

    def read(self, value: Any) -> Any:
        """Return the value as the setting has it, or None if it does not fit."""

    def parse(self, text: str) -> Any:
        """The same for the text of an environment variable."""


@attrs.frozen
class _Text:
    expected: str

    def read(self, value: Any) -> str | None:
        return value if isinstance(value, str) and value else None

    parse = read


@attrs.frozen
class _Choice:
    options: tuple[str, ...]

    @property
    def expected(self) -> str:
        return " or ".join(f'"{option}"' for option in self.options)

    def read(self, value: Any) -> str | None:
        return value if isinstance(value, str) and value in self.options else None

    def parse(self, text: str) -> str | None:
        return self.read(text.strip().lower())


@attrs.frozen
class _Whole:
    least: int
    most: int | None = None

    @property
    def expected(self) -> str:
        if self.most is not None:
            return f"a whole number from {self.least} to {self.most}"
        return f"a whole number of at least {self.least}"

    def read(self, value: Any) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool) or value < self.least:
            return None
        return value if self.most is None or value <= self.most else None

    def parse(self, text: str) -> int | None:
        try:
            return self.read(int(text))
        except ValueError:
            return None


@attrs.frozen
class _Seconds:
    zero: bool

    @property
    def expected(self) -> str:
        return f"a number of seconds of {'at least' if self.zero else 'more than'} 0"

    def read(self, value: Any) -> float | None:
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        is_fine = 0 <= value <= sys.float_info.max and (self.zero or value > 0)
        return float(value) if is_fine else None

    def parse(self, text: str) -> float | None:
        try:
            return self.read(float(text))
        except ValueError:
            return None


@attrs.frozen
class _Switch:
    expected = "true or false"

    def read(self, value: Any) -> bool | None:
        return value if isinstance(value, bool) else None

    def parse(self, text: str) -> bool | None:
        return SWITCHES.get(text.strip().lower())


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@attrs.frozen(kw_only=True)
class Settings:
    """How an app runs.

    Attributes:
        task_hub: The task-hub address.
        root: The folder that relative files belong to, absolute.
        default_version: For instances and sub-orchestrations that are started by name without a
            version; None: the newest version that is registered.
        on_nondeterminism: ``park`` sets an instance aside whose code no longer does what its
            history says, until fixed code arrives; ``fail`` fails it.
        determinism_guards: Whether orchestrators are watched for calls of clocks, randomness and
            the like, which costs time: ``warn`` logs them, ``raise`` raises at the call.
        max_concurrent_activities: How many activities one worker runs at a time.
        max_activity_processes: How many activities with ``executor="process"`` run at a time; as
            many as there are processors unless set.
        max_concurrent_orchestrations: How many orchestrator turns one worker holds at a time.
        turn_timeout_seconds: How long one turn of an orchestrator may take before it loses its
            thread; after three lost threads the worker gives up.
        drain_timeout_seconds: How long a stopping worker waits for running activities.
        session_cache_count: How many suspended orchestrations a worker keeps in memory.
        session_cache_bytes: How large their histories may be together.
        health_port: Where to answer liveness and readiness probes over HTTP; None: nowhere, 0: at
            any free port.
        health_host: The address of this machine to answer them at.
        synchronous: ``full`` survives a loss of power; ``normal`` may then lose the last moments.
        max_payload_bytes: The largest input, result, event or other payload that is sent; 1 MiB
            for the Durable Task Scheduler unless set.
        max_message_bytes: The largest message accepted over gRPC, and the most that one turn of an
            orchestrator may ask for.
        trace_hooks: Whether every call of a plugin's hook is logged.
        plugins: What plugins are to be active, and their settings, from the tables
            ``[plugins.<name>]`` of the file.
        plugin_variables: What ``DURABLEFLOW_PLUGINS_<NAME>_<SETTING>`` say, by the part after
            ``PLUGINS_``.
        origins: Where each setting comes from: ``argument``, ``environment DURABLEFLOW_…``,
            ``durableflow.toml (/its/path)`` or ``default``.
        hidden: Sentences for the banner: what arguments hide.
        warnings: Sentences for the banner: what else looks wrong.
    """

    task_hub: str = attrs.field(repr=False)
    root: Path
    default_version: str | None = None
    on_nondeterminism: OnNondeterminism = "park"
    determinism_guards: DeterminismGuards = "off"
    max_concurrent_activities: int = 100
    max_activity_processes: int = attrs.field(factory=_processors)
    max_concurrent_orchestrations: int = 500
    turn_timeout_seconds: float = 30.0
    drain_timeout_seconds: float = 30.0
    session_cache_count: int = 500
    session_cache_bytes: int = 64 * 1024 * 1024
    health_port: int | None = None
    health_host: str = "127.0.0.1"
    synchronous: Synchronous = "full"
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    max_message_bytes: int = 64 * 1024 * 1024
    trace_hooks: bool = False
    plugins: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict, repr=False)
    plugin_variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    origins: Mapping[str, str] = attrs.field(factory=dict)
    hidden: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def fitting(self, max_payload_bytes: int | None) -> Settings:
        """Return them with an engine's own limit for payloads, unless one is set."""
        if max_payload_bytes is None or self.origins.get("max_payload_bytes") != DEFAULT:
            return self
        return attrs.evolve(self, max_payload_bytes=max_payload_bytes)


class SettingArguments(TypedDict, total=False):
    """The settings that ``App`` takes as arguments; None stands for not given."""

    task_hub: str | None
    default_version: str | None
    on_nondeterminism: OnNondeterminism | None
    determinism_guards: DeterminismGuards | None
    max_concurrent_activities: int | None
    max_activity_processes: int | None
    max_concurrent_orchestrations: int | None
    turn_timeout_seconds: float | timedelta | None
    drain_timeout_seconds: float | timedelta | None
    session_cache_count: int | None
    session_cache_bytes: int | None
    health_port: int | None
    health_host: str | None
    synchronous: Synchronous | None
    max_payload_bytes: int | None
    max_message_bytes: int | None
    trace_hooks: bool | None


_KINDS: Final[Mapping[str, _Kind]] = {
    "task_hub": _Text("a task-hub address, such as sqlite:///orders.db"),
    "default_version": _Text('a version, such as "2.0.0"'),
    "on_nondeterminism": _Choice(("park", "fail")),
    "determinism_guards": _Choice(("off", "warn", "raise")),
    "max_concurrent_activities": _Whole(1, _MOST_ON_THE_WIRE),
    "max_activity_processes": _Whole(1),
    "max_concurrent_orchestrations": _Whole(1, _MOST_ON_THE_WIRE),
    "turn_timeout_seconds": _Seconds(zero=False),
    "drain_timeout_seconds": _Seconds(zero=True),
    "session_cache_count": _Whole(0),
    "session_cache_bytes": _Whole(0),
    "health_port": _Whole(0, 65535),
    "health_host": _Text('an address of this machine, such as "0.0.0.0"'),
    "synchronous": _Choice(("full", "normal")),
    "max_payload_bytes": _Whole(1024),
    "max_message_bytes": _Whole(64 * 1024, _MOST_ON_THE_WIRE),
    "trace_hooks": _Switch(),
}


def load_settings(
    *, app_name: str, root: Path, arguments: Mapping[str, Any], environ: Mapping[str, str]
) -> Settings:
    """Put the settings together: arguments over the environment over the file over defaults.

    Args:
        app_name: Names the embedded engine's file where nothing else is said.
        root: Absolute; where ``durableflow.toml`` is read, if it is there.
        arguments: By name; None stands for not given.
        environ: ``DURABLEFLOW_<NAME>``; empty text stands for not given.

    Raises:
        SettingsError: a setting is unknown or does not fit, or the file cannot be read.
    """
    path = root / FILE_NAME
    given = {name: value for name, value in arguments.items() if value is not None}
    _refuse_unknown(given, "argument")
    from_arguments = {name: _read(name, value, "argument") for name, value in given.items()}
    from_environment = dict(_from_environment(environ))
    from_file = _from_file(path)
    plugins = from_file.pop("plugins", {})
    values: dict[str, Any] = {"task_hub": f"sqlite:///{app_name}.db"}
    origins = dict.fromkeys(_KINDS, DEFAULT)
    for source, found in (
        (f"{FILE_NAME} ({path})", from_file),
        ("environment {}", from_environment),
        ("argument", from_arguments),
    ):
        values |= found
        origins |= {name: source.format(_variable(name)) for name in found}
    return Settings(
        **values,
        root=root,
        plugins=plugins,
        plugin_variables={
            variable.removeprefix(PLUGINS_PREFIX): text
            for variable, text in environ.items()
            if variable.startswith(PLUGINS_PREFIX)
        },
        origins=origins,
        hidden=tuple(
            f"{name} given as an argument hides {_variable(name)} of the environment."
            for name, value in from_environment.items()
            if name in from_arguments and from_arguments[name] != value
        ),
        warnings=(*_unknown_variables(environ), *_loose_permissions(path)),
    )


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _read(name: str, value: Any, origin: str) -> Any:
    return _fitting(name, _KINDS[name].read(value), value, origin)


def _fitting(name: str, fitting: Any, value: Any, origin: str) -> Any:
    if fitting is None:
        raise SettingsError(
            f"The setting {name} must be {_KINDS[name].expected}, not {_shown(value)} ({origin})."
        )
    return fitting


def _shown(value: Any) -> str:
    """Show a value, unless it holds others: a connection string may be among them."""
    plain = value is None or isinstance(value, str | int | float | timedelta)
    return repr(value) if plain else f"a {type(value).__name__}"


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, kind in _KINDS.items():
        text = environ.get(_variable(name))
        if text:
            origin = f"environment {_variable(name)}"
            yield name, _fitting(name, kind.parse(text), text, origin)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # of TOML, or of its encoding
        # Without the cause, which has all that stands in the file.
        raise SettingsError(f"{path} is not valid TOML: {error}.") from None
    plugins = table.pop("plugins", {})
    if not isinstance(plugins, dict) or not all(isinstance(t, dict) for t in plugins.values()):
        raise SettingsError(
            f"{path}: [plugins] takes a table for each plugin, such as [plugins.blob], with that "
            "plugin's settings in it."
        )
    _refuse_unknown(table, str(path))
    values = {name: _read(name, value, str(path)) for name, value in table.items()}
    return {**values, "plugins": plugins}


def _refuse_unknown(names: Iterable[str], origin: str) -> None:
    for name in names:
        if name not in _KINDS:
            raise SettingsError(
                f"There is no setting {name!r} ({origin})."
                f"{_suggestion(name, _KINDS)} The settings are: {', '.join(_KINDS)}."
            )


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = [_variable(name) for name in _KINDS]
    for variable in sorted(environ):
        ours = variable.startswith(PREFIX) and not variable.startswith(PLUGINS_PREFIX)
        if ours and variable not in known:
            yield f"{variable} of the environment is no setting and was ignored." + _suggestion(
                variable, known
            )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _loose_permissions(path: Path) -> Iterator[str]:
    """Warn of a file by which other people could change what runs here."""
    try:
        status = path.stat()
    except OSError:
        return
    if os.name != "posix":
        return
    others = status.st_mode & stat.S_IWOTH
    # A group of the user's own, as many systems give to everyone, is no other people.
    group = status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid()
    if others or group or status.st_uid not in (0, os.geteuid()):
        yield (
            f"{path} may be written by others, who could send your work to another task hub. "
            f"Run: chmod go-w {path}"
        )
