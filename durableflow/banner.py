"""The lines that a worker prints when it starts: what it serves, from where, and set by whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from durableflow._version import __version__
from durableflow.engine.joining import FileTaskHub
from durableflow.hub.port import TaskHub
from durableflow.plan import Plan
from durableflow.registry import ActivityDefinition, OrchestratorDefinition
from durableflow.settings import Settings

_INDENT: Final = 2
_LABEL_WIDTH: Final = 15


def banner(plan: Plan, hub: TaskHub, health_address: str | None) -> str:
    """Compose the lines.

    Args:
        hub: Open, and without payload codecs.
        health_address: Where probes are answered; None if nowhere.
    """
    engine = hub.engine_place if isinstance(hub, FileTaskHub) else None
    rows = [
        ("task hub", [f"{hub.description}  ({plan.settings.origins['task_hub']})"]),
        ("engine", [engine or f"elsewhere, at {hub.description}"]),
        *([("health", [f"{health_address}/livez, /readyz"])] if health_address else []),
        ("orchestrators", _names(plan.registry.orchestrators())),
        ("activities", _names(plan.registry.activities())),
        ("settings", list(_settings(plan.settings))),
    ]
    lines = [f"durableflow {__version__} serves app {plan.app_name!r}"]
    for label, values in rows:
        for index, value in enumerate(values or ["none"]):
            lines.append(f"{'':{_INDENT}}{'' if index else label:{_LABEL_WIDTH}}{value}")
    return "\n".join(lines)


def _names(definitions: Sequence[OrchestratorDefinition | ActivityDefinition]) -> list[str]:
    versions: dict[str, list[str | None]] = {}
    for definition in definitions:
        versions.setdefault(definition.name, []).append(definition.version)
    return [f"{name}{_versions(of_name)}" for name, of_name in versions.items()]


def _versions(versions: list[str | None]) -> str:
    """Say nothing about a name that has one function, without a version."""
    if versions == [None]:
        return ""
    named = [version for version in versions if version is not None]
    return f"  {', '.join(named)}{', any other' if None in versions else ''}"


def _settings(settings: Settings) -> Iterator[str]:
    for field in attrs.fields(Settings):
        origin = settings.origins.get(field.name)
        if origin is not None and field.name != "task_hub":
            yield f"{field.name} = {getattr(settings, field.name)}  ({origin})"
