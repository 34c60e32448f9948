"""What ``python -m durableflow plugins`` prints: the plugins that an app has, and could have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import packages_distributions, version
from inspect import getmodule
from types import ModuleType

from durableflow.activation import InstalledPlugin
from durableflow.plugins import ActivePlugin


def list_plugins(
    app_name: str, active: Sequence[ActivePlugin], installed: Iterable[InstalledPlugin]
) -> str:
    """Compose the lines.

    Args:
        active: In the order in which they are asked.
    """
    names = {each.name for each in active}
    idle = [each for each in installed if each.name not in names]
    lines = [f"Active in app {app_name!r}, in the order in which they are asked:"]
    lines += _columns([(each.name, _origin(each.plugin), ", ".join(each.hooks)) for each in active])
    if not idle:
        return "\n".join([*lines, "Nothing else is installed."])
    lines.append("Installed, and made active by a table [plugins.NAME] in durableflow.toml:")
    lines += _columns([(each.name, each.distribution) for each in idle])
    return "\n".join(lines)


def _origin(plugin: object) -> str:
    """Name what brought a plugin, with its version; else the module that it is written in."""
    module = plugin if isinstance(plugin, ModuleType) else getmodule(type(plugin))
    name = "" if module is None else module.__name__
    distributions = packages_distributions().get(name.partition(".")[0], ())
    return ", ".join(f"{each} {version(each)}" for each in sorted(set(distributions))) or name


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)]
        yield f"  {'  '.join(cells)}".rstrip()
