"""Versions exchanged with the public SDK: its worker's options and filters, both clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from durabletask import client as sdk_client
from durabletask import task as sdk
from durabletask import worker as sdk_worker

from durableflow import App, Orchestration, OrchestrationContext, OrchestrationStatus
from tests.interop.conftest import Engines
from tests.interop.engines import Served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

SECONDS = 30
STRICT = sdk_worker.VersionMatchStrategy.STRICT
CURRENT_OR_OLDER = sdk_worker.VersionMatchStrategy.CURRENT_OR_OLDER


def order(ctx: sdk.OrchestrationContext, _: Any) -> Any:
    return f"theirs on {ctx.version}"
    yield


def their_activity(ctx: sdk.ActivityContext, text: str) -> str:
    return f"theirs: {text}"


@pytest.fixture
def engine(engines: Engines) -> Served:
    return engines["ours"]


@contextmanager
def their_worker(
    engine: Served, match: sdk_worker.VersionMatchStrategy, *, filters: bool
) -> Iterator[None]:
    with sdk_worker.TaskHubGrpcWorker(host_address=engine.target) as worker:
        worker.add_orchestrator(order)
        worker.add_activity(their_activity)
        worker.use_versioning(
            sdk_worker.VersioningOptions(
                version="1.0.0",
                match_strategy=match,
                failure_strategy=sdk_worker.VersionFailureStrategy.REJECT,
            )
        )
        if filters:
            worker.use_work_item_filters()
        worker.start()
        yield


@pytest.fixture
def theirs(engine: Served) -> Iterator[sdk_client.TaskHubGrpcClient]:
    """Their client, which stamps 1.0.0 unless told otherwise."""
    with sdk_client.TaskHubGrpcClient(
        host_address=engine.target, default_version="1.0.0"
    ) as client:
        yield client


@pytest.fixture
def app(engine: Served) -> App:
    app = App("ours", task_hub=engine.address)

    @app.orchestrator(name="order", version="2.0.0")
    def order(ctx: OrchestrationContext) -> str:
        return f"ours on {ctx.version}"

    @app.orchestrator(version="1.0.0")
    def caller(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity("their_activity", input=ctx.version))

    return app


def output(client: sdk_client.TaskHubGrpcClient, instance_id: str) -> Any:
    state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
    assert state is not None
    return state.get_output()


def test_each_version_goes_to_the_worker_that_has_it_whoever_starts_it(
    engine: Served, app: App, theirs: sdk_client.TaskHubGrpcClient
) -> None:
    with their_worker(engine, STRICT, filters=True), app.running() as ours:
        by_default = theirs.schedule_new_orchestration("order")
        newer = theirs.schedule_new_orchestration("order", version="2.0.0")
        older = ours.schedule_new_orchestration("order", version="1.0.0")
        by_name = ours.schedule_new_orchestration("order")

        assert output(theirs, by_default) == "theirs on 1.0.0"
        assert output(theirs, newer) == "ours on 2.0.0"
        assert output(theirs, older) == "theirs on 1.0.0"
        assert output(theirs, by_name) == "ours on 2.0.0"


def test_our_calls_by_name_reach_the_activities_of_a_strict_worker(
    engine: Served, app: App
) -> None:
    with their_worker(engine, STRICT, filters=True), app.running() as ours:
        assert ours.run_orchestration("caller", timeout=SECONDS) == "theirs: 1.0.0"


def test_what_their_worker_rejects_waits_for_ours(
    engine: Served, app: App, theirs: sdk_client.TaskHubGrpcClient
) -> None:
    with their_worker(engine, CURRENT_OR_OLDER, filters=False):
        older = theirs.schedule_new_orchestration("order", version="0.9")
        newer = theirs.schedule_new_orchestration("order", version="2.0.0")
        assert output(theirs, older) == "theirs on 0.9"
        state = theirs.get_orchestration_state(newer)
        assert state is not None
        assert state.runtime_status is sdk_client.OrchestrationStatus.PENDING

    with app.running():
        assert output(theirs, newer) == "ours on 2.0.0"


def test_their_instances_count_among_the_versions_in_use(
    engine: Served, app: App, theirs: sdk_client.TaskHubGrpcClient
) -> None:
    theirs.schedule_new_orchestration("nobodys", version="7.0")

    with app.client() as ours:
        found = {(each.name, each.version): each for each in ours.get_versions_in_use()}

    assert found["nobodys", "7.0"].counts == {OrchestrationStatus.PENDING: 1}
