"""Versions that travel in names: apart on this side, together on the engine's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import TaskHubAddressError
from durableflow.hub.address import parse_task_hub_address
from durableflow.hub.options import HubOptions
from durableflow.hub.plugin import RemotePlugin
from durableflow.hub.port import TaskHub
from tests.unit.hub.scripted import ScriptedEngine


def hub_at(text: str) -> TaskHub:
    address = parse_task_hub_address(text, root=Path("/"))
    make = RemotePlugin().register_task_hubs()["grpc"]
    return make(address, HubOptions(role="worker"))


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine() as engine:
        yield engine


@pytest.fixture
async def hub(engine: ScriptedEngine) -> AsyncIterator[TaskHub]:
    hub = hub_at(f"grpc://{engine.target}?engine=durabletask-go&versions=in-name")
    await hub.open()
    yield hub
    await hub.close()


@pytest.mark.parametrize(
    ("name", "version", "sent"),
    [
        ("order", "2.0", "order;version=2.0"),
        ("order", "", "order"),
        ("a;version=b", "2.0", "a;version=b;version=2.0"),
    ],
)
async def test_a_start_says_both_in_one(
    engine: ScriptedEngine, hub: TaskHub, name: str, version: str, sent: str
) -> None:
    request = pb.CreateInstanceRequest(instanceId="a", name=name)
    if version:
        request.version.value = version

    await hub.start_instance(request)

    arrived = pb.CreateInstanceRequest.FromString(engine.requests["StartInstance"])
    assert (arrived.name, arrived.HasField("version")) == (sent, False)


async def test_a_state_tells_them_apart(engine: ScriptedEngine, hub: TaskHub) -> None:
    state = pb.OrchestrationState(instanceId="a", name="order;version=2.0")
    engine.answers["GetInstance"] = pb.GetInstanceResponse(exists=True, orchestrationState=state)

    reply = await hub.get_instance(pb.GetInstanceRequest(instanceId="a"))

    found = reply.orchestrationState
    assert (found.name, found.version.value) == ("order", "2.0")


async def test_a_work_item_tells_them_apart(engine: ScriptedEngine, hub: TaskHub) -> None:
    item = pb.WorkItem()
    request = item.orchestratorRequest
    started = request.newEvents.add().executionStarted
    started.name = "order;version=2.0"
    started.parentInstance.name.value = "parent;version=1.0"
    created = request.pastEvents.add().subOrchestrationInstanceCreated
    created.name = "child;version=3.0"
    engine.answers["GetWorkItems"] = item

    stream = hub.get_work_items(pb.GetWorkItemsRequest())
    arrived = (await anext(stream)).orchestratorRequest
    stream.cancel()

    started = arrived.newEvents[0].executionStarted
    assert (started.name, started.version.value) == ("order", "2.0")
    assert started.parentInstance.name.value == "parent"
    created = arrived.pastEvents[0].subOrchestrationInstanceCreated
    assert (created.name, created.version.value) == ("child", "3.0")


async def test_a_child_says_both_in_one(engine: ScriptedEngine, hub: TaskHub) -> None:
    response = pb.OrchestratorResponse(instanceId="a")
    child = response.actions.add(id=1).createSubOrchestration
    child.name = "child"
    child.version.value = "3.0"

    await hub.complete_orchestrator_task(response)

    arrived = pb.OrchestratorResponse.FromString(engine.requests["CompleteOrchestratorTask"])
    child = arrived.actions[0].createSubOrchestration
    assert (child.name, child.HasField("version")) == ("child;version=3.0", False)


def test_another_way_to_carry_versions_is_refused() -> None:
    with pytest.raises(TaskHubAddressError, match="versions=in-name"):
        hub_at("grpc://localhost:1?versions=dropped")
