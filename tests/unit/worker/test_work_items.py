from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.plugins import PluginSet
from durableflow.registry import Registry
from durableflow.routing import ExactVersionRouting
from durableflow.settings import Settings
from durableflow.worker.work_items import new_worker_instance_id, work_items_request


def requested(registry: Registry) -> pb.GetWorkItemsRequest:
    plugins = PluginSet()
    plugins.register(ExactVersionRouting())
    settings = Settings(
        task_hub="sqlite://",
        root=Path("/srv"),
        max_concurrent_activities=7,
        max_concurrent_orchestrations=70,
    )
    return work_items_request("me", registry=registry, plugins=plugins, settings=settings)


def orchestrator(ctx) -> Any: ...  # type: ignore[no-untyped-def]  # the context needs no annotation


def activity() -> None: ...


def test_it_says_who_asks_and_how_much_it_can_hold() -> None:
    request = requested(Registry())

    assert request.worker_instance_id == "me"
    assert request.maxConcurrentActivityWorkItems == 7
    assert request.maxConcurrentOrchestrationWorkItems == 70
    assert request.capabilities == [pb.WORKER_CAPABILITY_HISTORY_STREAMING]


def test_a_worker_without_functions_asks_for_nothing() -> None:
    request = requested(Registry())

    assert request.HasField("workItemFilters")
    assert not request.workItemFilters.orchestrations
    assert not request.workItemFilters.activities
    assert not request.workItemFilters.entities


def test_a_function_without_a_version_takes_every_version() -> None:
    registry = Registry()
    registry.add_orchestrator(orchestrator, name="order")
    registry.add_activity(activity, name="charge")

    filters = requested(registry).workItemFilters

    assert [(f.name, list(f.versions)) for f in filters.orchestrations] == [("order", [])]
    assert [(f.name, list(f.versions)) for f in filters.activities] == [("charge", [])]


def test_beside_one_for_every_version_those_with_a_function_are_named() -> None:
    registry = Registry()
    registry.add_orchestrator(orchestrator, name="order")
    registry.add_orchestrator(orchestrator, name="order", version="2")
    registry.add_activity(activity, name="charge")
    registry.add_activity(activity, name="charge", version="2")

    filters = requested(registry).workItemFilters

    both = [("2",), ()]
    assert [(f.name, tuple(f.versions)) for f in filters.orchestrations] == [
        ("order", versions) for versions in both
    ]
    assert [(f.name, tuple(f.versions)) for f in filters.activities] == [
        ("charge", versions) for versions in both
    ]


def test_functions_with_versions_take_exactly_these() -> None:
    registry = Registry()
    registry.add_orchestrator(orchestrator, name="order", version="10")
    registry.add_orchestrator(orchestrator, name="order", version="9")
    registry.add_activity(activity, name="charge", version="1")

    filters = requested(registry).workItemFilters

    assert [(f.name, list(f.versions)) for f in filters.orchestrations] == [("order", ["9", "10"])]
    assert [(f.name, list(f.versions)) for f in filters.activities] == [("charge", ["1"])]


def test_each_worker_has_a_name_of_its_own() -> None:
    first, second = new_worker_instance_id(), new_worker_instance_id()

    assert first != second
    assert first.split(":")[-2] == str(os.getpid())
