"""Clients of a task hub: each operation is written once, with a blocking and an awaited face."""

from durableflow.client.aio import AsyncClient
from durableflow.client.core import ClientCore
from durableflow.client.history import HistoryEvent
from durableflow.client.models import (
    InstanceId,
    OrchestrationIdReusePolicy,
    OrchestrationQuery,
    OrchestrationState,
    OrchestrationStatus,
    PurgeInstancesResult,
)
from durableflow.client.sync import Client
from durableflow.client.versions import VersionInUse

__all__ = [
    "AsyncClient",
    "Client",
    "ClientCore",
    "HistoryEvent",
    "InstanceId",
    "OrchestrationIdReusePolicy",
    "OrchestrationQuery",
    "OrchestrationState",
    "OrchestrationStatus",
    "PurgeInstancesResult",
    "VersionInUse",
]
