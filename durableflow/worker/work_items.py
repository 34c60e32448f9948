"""What a worker asks a task hub for: limits, capabilities, filters."""

from __future__ import annotations

import os
import socket
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
        versions = plugins.work_item_versions(name, registry.orchestrator_versions(name))
        filters.orchestrations.add(name=name, versions=versions)
    activities: dict[str, list[str | None]] = {}
    for definition in registry.activities():
        activities.setdefault(definition.name, []).append(definition.version)
    for name, found in activities.items():
        # A function without a version runs every version; an empty list asks for all of them.
        filters.activities.add(name=name, versions=[] if None in found else [v for v in found if v])
    return request
