"""Engines of others: found out, asked for what they can do, refused where they speak otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, TaskHubAddressError
from durableflow.hub.address import parse_task_hub_address
from durableflow.hub.core import grpc
from durableflow.hub.options import HubOptions
from durableflow.hub.plugin import RemotePlugin
from durableflow.hub.port import TaskHub
from durableflow.hub.probing import DAPR_PATH
from durableflow.hub.profiles import (
    TABLE,
    Feature,
    FeatureMissingError,
    capability_table,
)
from durableflow.hub.remote import HubLostError
from durableflow.protocol.service import RPCS
from durableflow.protocol.status import Status
from tests.unit.hub.scripted import ScriptedEngine

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
UNKNOWN = grpc.StatusCode.UNKNOWN
START = pb.CreateInstanceRequest(instanceId="a", name="order")


def hub_at(text: str) -> TaskHub:
    address = parse_task_hub_address(text, root=Path("/"))
    factories = RemotePlugin().register_task_hubs()
    return factories[address.scheme](address, HubOptions(role="client"))


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with ScriptedEngine() as engine:
        yield engine


@pytest.fixture
async def hub(engine: ScriptedEngine) -> AsyncIterator[TaskHub]:
    hub = hub_at(f"grpc://{engine.target}")
    await hub.open()
    yield hub
    await hub.close()


@pytest.fixture
async def go(engine: ScriptedEngine) -> AsyncIterator[TaskHub]:
    hub = hub_at(f"grpc://{engine.target}?engine=durabletask-go")
    await hub.open()
    yield hub
    await hub.close()


def versioned() -> pb.CreateInstanceRequest:
    request = pb.CreateInstanceRequest()
    request.CopyFrom(START)
    request.version.value = "2.0"
    return request


# Finding out


async def test_an_engine_is_asked_once_who_it_is(engine: ScriptedEngine, hub: TaskHub) -> None:
    for _ in range(3):
        await hub.start_instance(START)

    assert engine.calls == {"StartInstance": 3, "QueryInstances": 1}


@pytest.mark.parametrize(
    "answer", [(UNKNOWN, "unimplemented"), (UNIMPLEMENTED, "QueryInstances is not implemented")]
)
async def test_durabletask_go_is_known_by_its_answer(
    engine: ScriptedEngine, hub: TaskHub, answer: tuple[grpc.StatusCode, str]
) -> None:
    engine.answers["QueryInstances"] = answer

    with pytest.raises(FeatureMissingError, match="durabletask-go does not support versions"):
        await hub.start_instance(versioned())

    assert engine.calls["StartInstance"] == 0


async def test_an_engine_that_nobody_knows_gets_everything(
    engine: ScriptedEngine, hub: TaskHub
) -> None:
    await hub.start_instance(versioned())

    assert (
        pb.CreateInstanceRequest.FromString(engine.requests["StartInstance"]).version.value == "2.0"
    )


async def test_an_engine_that_is_named_is_not_asked(engine: ScriptedEngine, go: TaskHub) -> None:
    await go.start_instance(START)

    assert engine.calls == {"StartInstance": 1}


async def test_hello_finds_out_anew(engine: ScriptedEngine, hub: TaskHub) -> None:
    await hub.hello()
    engine.answers["QueryInstances"] = (UNKNOWN, "unimplemented")
    await hub.hello()

    with pytest.raises(FeatureMissingError):
        await hub.start_instance(versioned())


async def test_an_event_to_an_engine_that_is_away_was_not_sent(engine: ScriptedEngine) -> None:
    hub = hub_at("grpc://127.0.0.1:1")
    await hub.open()

    with pytest.raises(HubLostError) as caught:
        await hub.raise_event(pb.RaiseEventRequest(instanceId="a", name="e"), timeout=5)

    assert caught.value.untouched
    await hub.close()


def test_an_engine_that_there_is_not_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TaskHubAddressError, match="durableflow, dts, durabletask-go"):
        hub_at("grpc://localhost:1?engine=temporal")


# Dapr


@pytest.mark.parametrize(
    "answer", [b"", (grpc.StatusCode.UNAUTHENTICATED, "missing API token in request metadata")]
)
async def test_a_dapr_sidecar_is_refused_before_anything_is_sent(
    engine: ScriptedEngine, hub: TaskHub, answer: object
) -> None:
    engine.answers[DAPR_PATH] = answer

    with pytest.raises(TaskHubAddressError, match="dialect of its own"):
        await hub.start_instance(START)

    assert engine.calls["StartInstance"] == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"DAPR_GRPC_PORT": "50001"},
        {"DAPR_GRPC_PORT": "50001", "DAPR_RUNTIME_HOST": "localhost"},
        {"DAPR_GRPC_ENDPOINT": "http://127.0.0.1:50001"},
        {"DAPR_GRPC_ENDPOINT": "dns:localhost:50001"},
    ],
)
def test_the_sidecar_that_the_environment_names_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(TaskHubAddressError, match="Dapr"):
        hub_at("grpc://localhost:50001")
    hub_at("grpc://localhost:4001")


def test_dapr_is_refused_by_its_name() -> None:
    with pytest.raises(TaskHubAddressError, match="Dapr"):
        hub_at("grpc://localhost:3500?engine=dapr")


# What an engine lacks


async def test_what_an_engine_says_it_lacks_is_remembered(
    engine: ScriptedEngine, hub: TaskHub
) -> None:
    engine.answers["TerminateInstance"] = (
        UNIMPLEMENTED,
        "method TerminateInstance not implemented",
    )
    for _ in range(3):
        with pytest.raises(FeatureMissingError) as caught:
            await hub.terminate_instance(pb.TerminateRequest(instanceId="a"))

    assert caught.value.feature == "the call terminate_instance"
    assert engine.calls["TerminateInstance"] == 1


def requests() -> list[tuple[Feature, str, object]]:
    tagged = pb.CreateInstanceRequest(instanceId="a", name="order", tags={"team": "x"})
    by_filter = pb.PurgeInstancesRequest(purgeInstanceFilter=pb.PurgeInstanceFilter())
    return [
        (Feature.VERSIONS, "start_instance", versioned()),
        (Feature.TAGS, "start_instance", tagged),
        (Feature.QUERY, "query_instances", pb.QueryInstancesRequest()),
        (Feature.PURGE_MANY, "purge_instances", by_filter),
    ]


@pytest.mark.parametrize(("feature", "method", "request_"), requests())
async def test_what_is_lacking_is_refused_with_advice_and_not_sent(
    engine: ScriptedEngine, go: TaskHub, feature: Feature, method: str, request_: object
) -> None:
    with pytest.raises(FeatureMissingError) as caught:
        await getattr(go, method)(request_)

    assert caught.value.feature == feature.value
    assert caught.value.hint
    assert caught.value.status is Status.UNIMPLEMENTED
    assert not engine.calls


async def test_a_history_that_nobody_can_read_is_refused(go: TaskHub) -> None:
    with pytest.raises(FeatureMissingError, match="history"):
        await anext(go.stream_instance_history(pb.StreamInstanceHistoryRequest(instanceId="a")))


def turns() -> list[tuple[Feature, pb.OrchestratorAction]]:
    child = pb.CreateSubOrchestrationAction(name="child", instanceId="a:1")
    child.version.value = "2.0"
    again = pb.CompleteOrchestrationAction(
        orchestrationStatus=pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
    )
    again.newVersion.value = "2.0"
    tagged = pb.ScheduleTaskAction(name="charge", tags={"team": "x"})
    return [
        (Feature.VERSIONS, pb.OrchestratorAction(id=1, createSubOrchestration=child)),
        (Feature.VERSIONS, pb.OrchestratorAction(id=-1, completeOrchestration=again)),
        (Feature.TAGS, pb.OrchestratorAction(id=1, scheduleTask=tagged)),
        (Feature.SEND_EVENT, pb.OrchestratorAction(id=1, sendEvent=pb.SendEventAction(name="e"))),
        (
            Feature.ENTITIES,
            pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction()),
        ),
    ]


@pytest.mark.parametrize(
    ("feature", "action"),
    turns(),
    ids=["child's version", "new version", "activity's tags", "event", "entity message"],
)
async def test_a_turn_that_needs_what_is_lacking_fails_its_instance(
    engine: ScriptedEngine, go: TaskHub, feature: Feature, action: pb.OrchestratorAction
) -> None:
    response = pb.OrchestratorResponse(instanceId="a", completionToken="t", actions=[action])

    await go.complete_orchestrator_task(response)

    sent = pb.OrchestratorResponse.FromString(engine.requests["CompleteOrchestratorTask"])
    assert (sent.instanceId, sent.completionToken, len(sent.actions)) == ("a", "t", 1)
    complete = sent.actions[0].completeOrchestration
    assert complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    assert feature.value in complete.failureDetails.errorMessage
    assert complete.failureDetails.isNonRetriable


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("abandon_activity_task", pb.AbandonActivityTaskRequest(completionToken="t")),
        ("abandon_orchestrator_task", pb.AbandonOrchestrationTaskRequest(completionToken="t")),
    ],
)
async def test_an_item_is_given_back_by_ending_the_stream_that_brought_it(
    engine: ScriptedEngine, go: TaskHub, method: str, request_: object
) -> None:
    stream = go.get_work_items(pb.GetWorkItemsRequest())
    assert await anext(stream) == pb.WorkItem()

    await getattr(go, method)(request_)

    async with asyncio.timeout(10):
        assert [item async for item in stream] == []
    assert engine.calls == {"GetWorkItems": 1}


async def test_streams_are_not_ended_one_right_after_the_other(go: TaskHub) -> None:
    request = pb.AbandonActivityTaskRequest(completionToken="t")
    await go.abandon_activity_task(request)
    first = go.get_work_items(pb.GetWorkItemsRequest())
    async with asyncio.timeout(10):
        async for _ in first:
            pass
    for _ in range(3):
        await go.abandon_activity_task(request)

    second = go.get_work_items(pb.GetWorkItemsRequest())
    assert await anext(second) == pb.WorkItem()  # it lasts for a while
    second.cancel()


async def test_tags_of_our_own_may_be_dropped(engine: ScriptedEngine, go: TaskHub) -> None:
    retried = pb.ScheduleTaskAction(name="charge", tags={"durableflow-attempt": "2"})
    action = pb.OrchestratorAction(id=1, scheduleTask=retried)

    await go.complete_orchestrator_task(pb.OrchestratorResponse(instanceId="a", actions=[action]))

    sent = pb.OrchestratorResponse.FromString(engine.requests["CompleteOrchestratorTask"])
    assert sent.actions == [action]


# What an engine says in its own way


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("no such instance exists", Status.NOT_FOUND),
        ("orchestration instance already exists", Status.ALREADY_EXISTS),
        ("unknown instance ID/task ID combo: a/1", Status.UNKNOWN),
    ],
)
async def test_an_unknown_error_is_taken_for_what_its_text_says(
    engine: ScriptedEngine, go: TaskHub, text: str, status: Status
) -> None:
    engine.answers["StartInstance"] = (UNKNOWN, text)

    with pytest.raises(CallError, match=text) as caught:
        await go.start_instance(START)

    assert caught.value.status is status


@pytest.mark.parametrize("text", ["no such instance exists", "orchestration has not yet completed"])
async def test_a_purge_of_nothing_counts_nothing(
    engine: ScriptedEngine, go: TaskHub, text: str
) -> None:
    engine.answers["PurgeInstances"] = (UNKNOWN, f"failed to purge orchestration state: {text}")

    reply = await go.purge_instances(pb.PurgeInstancesRequest(instanceId="a"))

    assert reply.deletedInstanceCount == 0


async def test_what_to_replace_is_said_in_the_older_words_too(
    engine: ScriptedEngine, go: TaskHub
) -> None:
    request = pb.CreateInstanceRequest(instanceId="a", name="order")
    request.orchestrationIdReusePolicy.replaceableStatus.append(pb.ORCHESTRATION_STATUS_FAILED)

    await go.start_instance(request)

    sent = pb.CreateInstanceRequest.FromString(engine.requests["StartInstance"])
    policy = sent.orchestrationIdReusePolicy.SerializeToString()
    assert policy == b"\x0a\x01\x03\x10\x02"


# The table


def test_the_table_has_a_row_for_each_feature_and_a_column_for_each_engine() -> None:
    lines = capability_table().splitlines()

    assert len(lines) == 2 + len(Feature)
    assert all(line.count("|") == 2 + len(TABLE) for line in lines)


def test_the_documentation_shows_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "engines.md"

    assert capability_table() in page.read_text(encoding="utf-8")


def test_the_embedded_engine_can_what_the_table_says() -> None:
    calls = {
        Feature.QUERY: "QueryInstances",
        Feature.LIST_IDS: "ListInstanceIds",
        Feature.HISTORY: "StreamInstanceHistory",
        Feature.RESTART: "RestartInstance",
        Feature.REWIND: "RewindInstance",
        Feature.ENTITIES: "SignalEntity",
        Feature.ABANDON: "AbandonTaskOrchestratorWorkItem",
    }
    carried_out = {rpc.name for rpc in RPCS if rpc.method is not None}

    for feature, call in calls.items():
        assert TABLE[0].supports(feature) is (call in carried_out), feature
