"""What a worker asks a task hub for: limits, capabilities, filters."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from typing import Final
from uuid import uuid4

from durableflow._proto import task_hub_pb2 as pb
from durableflow.plugins import PluginSet
from durableflow.protocol.metadata import SESSIONS, Metadata
from durableflow.registry import Registry
from durableflow.settings import Settings

SESSIONS_METADATA: Final[Metadata] = ((SESSIONS, "1"),)


def new_worker_instance_id() -> str:
    """Name a worker, for as long as it runs."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4()}"


def work_items_request(
    worker_instance_id: str,
    *,
    registry: Registry,
    plugins: PluginSet,
    settings: Settings,
    takes_any: bool = False,
) -> pb.GetWorkItemsRequest:
    """Ask for what is registered, and for nothing else.

    Args:
        takes_any: Ask for everything instead.

    Source: orchestrator_service.proto, GetWorkItemsRequest and WorkItemFilters.
    """
    request = pb.GetWorkItemsRequest(
        maxConcurrentOrchestrationWorkItems=settings.max_concurrent_orchestrations,
        maxConcurrentActivityWorkItems=settings.max_concurrent_activities,
        capabilities=[pb.WORKER_CAPABILITY_HISTORY_STREAMING],
        worker_instance_id=worker_instance_id,
    )
    if takes_any:
        return request
    filters = request.workItemFilters
    filters.SetInParent()
    for name in sorted({d.name for d in registry.orchestrators()}):
        asked = plugins.work_item_versions(name, registry.orchestrator_versions(name))
        for versions in _lists(asked):
            filters.orchestrations.add(name=name, versions=versions)
    for name in sorted({d.name for d in registry.activities()}):
        for versions in _lists(registry.activity_versions(name)):
            filters.activities.add(name=name, versions=versions)
    return request


def nothing_more(request: pb.GetWorkItemsRequest) -> pb.GetWorkItemsRequest:
    """Turn a request into one for no work at all, by which a worker keeps what it runs."""
    request.ClearField("workItemFilters")
    request.workItemFilters.SetInParent()
    return request


def _lists(versions: Collection[str | None]) -> Iterator[list[str]]:
    """Yield what to list: the versions that are named, and an empty list to ask for all others."""
    named = list(dict.fromkeys(version for version in versions if version is not None))
    if named:
        yield named
    if None in versions or not named:
        yield []
