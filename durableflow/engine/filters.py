"""Which work a stream takes.  Pure.

Absent filters take everything; present ones take nothing of a kind that they do not list.  A name
with versions takes exactly these (``""``: unversioned), one without takes any.  A name that is
listed in both ways takes any, and is preferred for the versions that it names.

Source: orchestrator_service.proto, GetWorkItemsRequest.workItemFilters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Literal

from durableflow._proto import task_hub_pb2 as pb

Kind = Literal["turn", "activity"]

# Where a piece of work waits: its kind, name and version ("" for none).
QueueKey = tuple[Kind, str, str]


class Match(IntEnum):
    """How well a stream fits."""

    NO = 0
    ANY_VERSION = 1
    EXACT = 2


class Filters:
    """The filters of one GetWorkItems request."""

    def __init__(self, request: pb.GetWorkItemsRequest) -> None:
        # The versions that are named; None among them: any.
        self._wanted: dict[tuple[Kind, str], frozenset[str | None]] | None = None
        if not request.HasField("workItemFilters"):
            return
        wanted: dict[tuple[Kind, str], set[str | None]] = {}
        for orchestration in request.workItemFilters.orchestrations:
            versions = wanted.setdefault(("turn", orchestration.name), set())
            versions.update(orchestration.versions or (None,))
        for activity in request.workItemFilters.activities:
            versions = wanted.setdefault(("activity", activity.name), set())
            versions.update(activity.versions or (None,))
        self._wanted = {key: frozenset(versions) for key, versions in wanted.items()}

    def match(self, key: QueueKey) -> Match:
        """How well work of this kind, name and version fits."""
        if self._wanted is None:
            return Match.ANY_VERSION
        kind, name, version = key
        versions = self._wanted.get((kind, name))
        if versions is None:
            return Match.NO
        if version in versions:
            return Match.EXACT
        return Match.ANY_VERSION if None in versions else Match.NO

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._wanted == other._wanted

    def __hash__(self) -> int:
        return hash(None if self._wanted is None else frozenset(self._wanted.items()))


def part_taken(work: pb.WorkItemFilters, takers: Sequence[Filters]) -> pb.WorkItemFilters:
    """Return the part of some work, named with exact versions, that anybody takes."""

    def taken(kind: Kind, name: str, versions: Iterable[str]) -> list[str]:
        return [v for v in versions if any(taker.match((kind, name, v)) for taker in takers)]

    part = pb.WorkItemFilters()
    for orchestration in work.orchestrations:
        if versions := taken("turn", orchestration.name, orchestration.versions):
            part.orchestrations.add(name=orchestration.name, versions=versions)
    for activity in work.activities:
        if versions := taken("activity", activity.name, activity.versions):
            part.activities.add(name=activity.name, versions=versions)
    return part
