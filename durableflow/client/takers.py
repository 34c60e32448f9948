"""Which work the workers of a task hub take, as far as the hub can tell: ``Takers``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

from durableflow._proto import task_hub_pb2 as pb
from durableflow.client.models import OrchestrationState
from durableflow.client.outstanding import Outstanding
from durableflow.errors import OperationalError
from durableflow.hub.port import KnowsTakers, TaskHub

Names: TypeAlias = frozenset[tuple[str, str]]


@attrs.frozen
class Takers:
    """What is taken of the work that a hub was asked about.

    Attributes:
        orchestrators: Names and versions ("" for none); None if the hub cannot tell.
        activities: Likewise.
    """

    orchestrators: Names | None = None
    activities: Names | None = None

    def run_orchestrator(self, name: str, version: str) -> bool | None:
        """Whether a connected worker runs this orchestrator; None if that is not known."""
        return None if self.orchestrators is None else (name, version) in self.orchestrators

    def run_activity(self, name: str, version: str) -> bool | None:
        """Whether a connected worker runs this activity; None if that is not known."""
        return None if self.activities is None else (name, version) in self.activities


async def find_takers(
    hub: TaskHub, state: OrchestrationState[Any], waits_for: Outstanding, timeout: float
) -> Takers:
    """Ask a hub about the work by which an instance goes on.

    Args:
        timeout: In seconds.
    """
    if not isinstance(hub, KnowsTakers):
        return Takers()
    work = pb.WorkItemFilters()
    work.orchestrations.add(name=state.name, versions=[state.version or ""])
    for name, version in waits_for.activities:
        work.activities.add(name=name, versions=[version])
    try:
        part = await hub.taken(work, timeout=timeout)
    except OperationalError:  # it is a help, and no more
        return Takers()
    return Takers(_names(part.orchestrations), _names(part.activities))


def _names(filters: Iterable[pb.OrchestrationFilter | pb.ActivityFilter]) -> Names:
    return frozenset((each.name, version) for each in filters for version in each.versions)
