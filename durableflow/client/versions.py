"""Which versions of orchestrators the instances of a task hub have: ``VersionInUse``.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from durableflow.client.models import TERMINAL, OrchestrationState, OrchestrationStatus
from durableflow.versioning import Version

UNFINISHED: Final = tuple(status for status in OrchestrationStatus if status not in TERMINAL)


@attrs.frozen(kw_only=True)
class VersionInUse:
    """The instances of one version of one orchestrator.

    Attributes:
        name: The orchestrator's name.
        version: None for instances without a version.
        counts: How many there are in each state.
        parked: How many of them are set aside, since no worker that took them has code that fits.
    """

    name: str
    version: str | None
    counts: Mapping[OrchestrationStatus, int]
    parked: int

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())


class VersionCount:
    """Counts instances by version."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], Counter[OrchestrationStatus]] = {}
        self._parked: Counter[tuple[str, str]] = Counter()

    def add(self, states: Iterable[OrchestrationState[Any]]) -> None:
        """Count some more."""
        for state in states:
            key = (state.name, state.version or "")
            self._states.setdefault(key, Counter())[state.runtime_status] += 1
            self._parked[key] += state.parked is not None

    def result(self) -> list[VersionInUse]:
        """Return what was counted, by name and version."""
        return [
            VersionInUse(
                name=name,
                version=version or None,
                counts=dict(self._states[name, version]),
                parked=self._parked[name, version],
            )
            for name, version in sorted(self._states, key=lambda key: (key[0], Version(key[1])))
        ]
