"""From plugins named in settings to plugins: finds what is installed, and makes it with its settings.

An installed plugin is an entry point of the group ``durableflow``: its name is the one that
settings use, its object an attrs class (or a dataclass) whose fields are the plugin's settings, or
any class or function that makes a plugin without arguments.  Being installed makes nothing active.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from durableflow.errors import PluginError
from durableflow.plugins import PluginSet
from durableflow.settings import PLUGINS_PREFIX, SWITCHES, Settings

GROUP: Final = "durableflow"

# Shorter texts are left in what a plugin says of its settings: they are words of the sentence, too.
_SHORTEST_SECRET: Final = 4
_COLLECTIONS: Final = (tuple, list, set, frozenset)


@attrs.frozen
class InstalledPlugin:
    """A plugin that could be made active.

    Attributes:
        name: What settings call it.
        distribution: Name and version of what brought it; "" if that is not known.
    """

    name: str
    distribution: str
    entry_point: EntryPoint = attrs.field(repr=False)

    def load(self) -> Callable[..., object]:
        """Import what makes the plugin.

        Raises:
            PluginError: it cannot be imported.
        """
        try:
            found: Callable[..., object] = self.entry_point.load()
        except Exception as error:
            # Whatever goes wrong in the import of somebody else's package.
            raise PluginError(
                f"The plugin '{self.name}' ({self.distribution}) cannot be imported from "
                f"{self.entry_point.value}: {type(error).__name__}: {error}"
            ) from error
        return found


class NamedPlugins:
    """The plugins of one app that are active because settings name them.

    Args:
        plugins: The app's, to which they are added.
    """

    def __init__(self, plugins: PluginSet) -> None:
        self._plugins = plugins
        self._active: dict[str, Mapping[str, Any]] = {}

    def activate(self, settings: Settings) -> bool:
        """Make active what is named and is not active yet.

        Returns:
            Whether there was anything new.

        Raises:
            PluginError: a plugin is not installed, its settings do not fit or have changed, or it
                was registered by the program as well.
        """
        if not settings.plugins and not settings.plugin_variables:
            return False
        installed = installed_plugins()
        before = len(self._active)
        for name, values in named_plugins(settings, installed).items():
            if name not in self._active:
                self._add(name, make_plugin(name, values, installed))
                self._active[name] = values
            elif self._active[name] != values:
                raise PluginError(
                    f"The settings of the plugin '{name}' have changed since this app first ran. "
                    "Start the process again."
                )
        return len(self._active) > before

    def _add(self, name: str, plugin: object) -> None:
        twin = next((a for a in self._plugins.active if type(a.plugin) is type(plugin)), None)
        if twin is not None and not inspect.ismodule(plugin):
            raise PluginError(
                f"The settings name the plugin '{name}', and the program has registered one of the "
                f"same class, '{twin.name}'. Leave out one of them."
            )
        self._plugins.register(plugin, name)


def installed_plugins() -> dict[str, InstalledPlugin]:
    """Return the plugins of this Python environment, by name."""
    found = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        brought_by = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        found[point.name] = InstalledPlugin(point.name, brought_by, point)
    return found


def named_plugins(settings: Settings, installed: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the plugins that settings name, each with what they say about it.

    Args:
        installed: The names that variables of the environment may begin with.

    Raises:
        PluginError: a variable names no plugin.
    """
    named = {name: dict(values) for name, values in settings.plugins.items()}
    known = {_in_variables(name): name for name in (*installed, *named)}
    for variable, text in sorted(settings.plugin_variables.items()):
        name, field = _split(variable, known)
        values = named.setdefault(name, {})
        if field:
            values[field] = text
        elif SWITCHES.get(text.lower()) is not True:
            raise PluginError(
                f"{PLUGINS_PREFIX}{variable} has a value that means nothing: write =on to make the "
                "plugin active, or leave the variable out."
            )
    return named


def make_plugin(
    name: str, values: Mapping[str, Any], installed: Mapping[str, InstalledPlugin]
) -> object:
    """Make a plugin with its settings.

    Raises:
        PluginError: it is not installed, or its settings do not fit.
    """
    found = installed.get(name)
    if found is None:
        raise PluginError(
            f"The settings name a plugin '{name}', which is not installed. {_have(installed)} "
            "Install the package that brings it, or remove its settings."
        )
    make = found.load()
    if not isinstance(make, type) or not (attrs.has(make) or is_dataclass(make)):
        if values:
            raise PluginError(f"The plugin '{name}' has no settings, but {_listed(values)} is set.")
        return make()
    try:
        return _structured(values, make)
    except Exception as error:  # noqa: BLE001 -- of the plugin's own converters and validators
        texts = sorted(set(_texts(values)), key=len, reverse=True)
        problems = cattrs.transform_error(error, f"plugins.{name}", partial(_problem, texts))
        # Without the cause, which says more of the values.
        raise PluginError(
            f"The settings of the plugin '{name}' do not fit: {'; '.join(problems)}. "
            f"It has {_listed(_fields(make))}."
        ) from None


def _structured(values: Mapping[str, Any], plugin: type) -> object:
    converter = cattrs.Converter()
    for kind, read in _READERS.items():
        converter.register_structure_hook(kind, read)
    types = get_type_hints(plugin)
    given = {
        # The environment has no lists, so they are written with commas.
        field: [part.strip() for part in value.split(",")]
        if isinstance(value, str) and get_origin(types.get(field)) in _COLLECTIONS
        else value
        for field, value in values.items()
    }
    structure: Callable[..., object]
    structure = make_dict_structure_fn(plugin, converter, _cattrs_forbid_extra_keys=True)
    return structure(given, plugin)


def _fields(plugin: type) -> list[str]:
    """Return the settings of a plugin: what its ``__init__`` takes."""
    return list(inspect.signature(plugin).parameters)


def _problem(values: Iterable[str], error: BaseException, _: type | None) -> str:
    """Say what is wrong, without the values, which may be secrets."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"there is no setting {_listed(sorted(error.extra_fields))}"
    if isinstance(error, KeyError):
        return "it is required"
    if isinstance(error, _UnfitError):
        return str(error)
    # The validators of attrs say more than their first words to programs.
    said = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    for value in values:
        said = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", said)
    return said or type(error).__name__


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts among the values of settings."""
    if isinstance(value, str):
        parts = {value, value.strip(), *map(str.strip, value.split(","))}
        yield from (part for part in parts if len(part) >= _SHORTEST_SECRET)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


class _UnfitError(TypeError):
    """What is needed; never says what was given."""


def _text(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise _UnfitError(f"text is needed, not {type(value).__name__}")
    return value


def _switch(value: Any, _: object) -> bool:
    switch = SWITCHES.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(switch, bool):
        raise _UnfitError("true or false is needed")
    return switch


def _number(kind: Callable[[Any], Any]) -> Callable[[Any, object], Any]:
    def read(value: Any, _: object) -> Any:
        if isinstance(value, bool) or (kind is int and isinstance(value, float)):
            raise _UnfitError(f"a number is needed, not {type(value).__name__}")
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise _UnfitError("a number is needed") from None

    return read


_READERS: Final[Mapping[Any, Callable[[Any, Any], Any]]] = {
    str: _text,
    bool: _switch,
    int: _number(int),
    float: _number(float),
    Path: lambda value, _: Path(_text(value, _)),
    timedelta: lambda value, _: timedelta(seconds=_number(float)(value, _)),
}


def _split(variable: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Split ``BLOB_STORE_ACCOUNT`` into a plugin's name and that of its setting."""
    fitting = [key for key in known if variable == key or variable.startswith(f"{key}_")]
    if not fitting:
        raise PluginError(
            f"{PLUGINS_PREFIX}{variable} of the environment names no plugin that is installed. "
            f"{_have(known.values())}{_meant(variable, known)}"
        )
    key = max(fitting, key=len)
    return known[key], variable[len(key) + 1 :].lower()


def _in_variables(name: str) -> str:
    return name.upper().replace("-", "_").replace(".", "_")


def _have(installed: Iterable[str]) -> str:
    return f"Installed are {_listed(sorted(installed))}." if installed else "None is installed."


def _meant(variable: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(variable, known, n=1, cutoff=0.5)
    return f" Did you mean {PLUGINS_PREFIX}{close[0]}?" if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
