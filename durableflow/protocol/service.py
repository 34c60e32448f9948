"""The calls of the Durable Task service: one table of names, paths and messages.

The paths are stated here because our messages live in a proto package of their own (so that the
generated code of another SDK fits into the same process) while the service on the wire has none.

Source: orchestrator_service.proto, service TaskHubSidecarService.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb

SERVICE: Final = "TaskHubSidecarService"

# Our own engine answers this beside the protocol: which part of some work its workers take.
FIND_TAKERS: Final = "/durableflow.EngineAdmin/FindTakers"

# And this: results of many work items on one stream.
COMPLETE: Final = "/durableflow.EngineAdmin/Complete"


class Kind(Enum):
    """How many messages a call answers with; every call takes one."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"


@frozen
class Rpc:
    """One call of the service.

    Attributes:
        name: The call's name on the wire.
        request: The class of the one message that goes in.
        reply: The class of the message, or of each message, that comes back.
        method: The method of ``TaskHub`` that carries it out; None while the port has none.
        kind: How many replies there are.
        takes_metadata: Whether the method wants the call's metadata.
    """

    name: str
    request: type[Message]
    reply: type[Message]
    method: str | None = None
    kind: Kind = Kind.UNARY
    takes_metadata: bool = False

    @property
    def path(self) -> str:
        """The literal path of the call, for example ``/TaskHubSidecarService/Hello``."""
        return f"/{SERVICE}/{self.name}"


RPCS: Final[tuple[Rpc, ...]] = (
    # Instances: what clients do.
    Rpc("Hello", Empty, Empty, "hello"),
    Rpc("StartInstance", pb.CreateInstanceRequest, pb.CreateInstanceResponse, "start_instance"),
    Rpc("GetInstance", pb.GetInstanceRequest, pb.GetInstanceResponse, "get_instance"),
    Rpc(
        "WaitForInstanceStart",
        pb.GetInstanceRequest,
        pb.GetInstanceResponse,
        "wait_for_instance_start",
    ),
    Rpc(
        "WaitForInstanceCompletion",
        pb.GetInstanceRequest,
        pb.GetInstanceResponse,
        "wait_for_instance_completion",
    ),
    Rpc("RaiseEvent", pb.RaiseEventRequest, pb.RaiseEventResponse, "raise_event"),
    Rpc("SuspendInstance", pb.SuspendRequest, pb.SuspendResponse, "suspend_instance"),
    Rpc("ResumeInstance", pb.ResumeRequest, pb.ResumeResponse, "resume_instance"),
    Rpc("TerminateInstance", pb.TerminateRequest, pb.TerminateResponse, "terminate_instance"),
    Rpc("PurgeInstances", pb.PurgeInstancesRequest, pb.PurgeInstancesResponse, "purge_instances"),
    Rpc("QueryInstances", pb.QueryInstancesRequest, pb.QueryInstancesResponse, "query_instances"),
    Rpc(
        "StreamInstanceHistory",
        pb.StreamInstanceHistoryRequest,
        pb.HistoryChunk,
        "stream_instance_history",
        kind=Kind.SERVER_STREAM,
    ),
    Rpc("ListInstanceIds", pb.ListInstanceIdsRequest, pb.ListInstanceIdsResponse),
    Rpc("RestartInstance", pb.RestartInstanceRequest, pb.RestartInstanceResponse),
    Rpc("RewindInstance", pb.RewindInstanceRequest, pb.RewindInstanceResponse),
    Rpc(
        "SkipGracefulOrchestrationTerminations",
        pb.SkipGracefulOrchestrationTerminationsRequest,
        pb.SkipGracefulOrchestrationTerminationsResponse,
    ),
    # Work items: what workers do.
    Rpc(
        "GetWorkItems",
        pb.GetWorkItemsRequest,
        pb.WorkItem,
        "get_work_items",
        kind=Kind.SERVER_STREAM,
        takes_metadata=True,
    ),
    Rpc(
        "CompleteOrchestratorTask",
        pb.OrchestratorResponse,
        pb.CompleteTaskResponse,
        "complete_orchestrator_task",
    ),
    Rpc(
        "CompleteActivityTask",
        pb.ActivityResponse,
        pb.CompleteTaskResponse,
        "complete_activity_task",
    ),
    Rpc(
        "AbandonTaskOrchestratorWorkItem",
        pb.AbandonOrchestrationTaskRequest,
        pb.AbandonOrchestrationTaskResponse,
        "abandon_orchestrator_task",
        takes_metadata=True,
    ),
    Rpc(
        "AbandonTaskActivityWorkItem",
        pb.AbandonActivityTaskRequest,
        pb.AbandonActivityTaskResponse,
        "abandon_activity_task",
        takes_metadata=True,
    ),
    # Entities.
    Rpc("SignalEntity", pb.SignalEntityRequest, pb.SignalEntityResponse),
    Rpc("GetEntity", pb.GetEntityRequest, pb.GetEntityResponse),
    Rpc("QueryEntities", pb.QueryEntitiesRequest, pb.QueryEntitiesResponse),
    Rpc("CleanEntityStorage", pb.CleanEntityStorageRequest, pb.CleanEntityStorageResponse),
    Rpc("CompleteEntityTask", pb.EntityBatchResult, pb.CompleteTaskResponse),
    Rpc(
        "AbandonTaskEntityWorkItem",
        pb.AbandonEntityTaskRequest,
        pb.AbandonEntityTaskResponse,
    ),
    # The task hub itself.
    Rpc("CreateTaskHub", pb.CreateTaskHubRequest, pb.CreateTaskHubResponse),
    Rpc("DeleteTaskHub", pb.DeleteTaskHubRequest, pb.DeleteTaskHubResponse),
)
"""Every call of the service, those included that no task hub of ours carries out yet."""

BY_METHOD: Final[dict[str, Rpc]] = {rpc.method: rpc for rpc in RPCS if rpc.method is not None}
"""The calls that the ``TaskHub`` port has, by the name of its method."""
