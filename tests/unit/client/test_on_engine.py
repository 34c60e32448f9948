"""The clients on the embedded engine, without a worker: what they ask is what it understands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from durableflow.client import (
    AsyncClient,
    Client,
    ClientCore,
    OrchestrationIdReusePolicy,
    OrchestrationQuery,
    OrchestrationStatus,
)
from durableflow.converter import Converter
from durableflow.engine.engine import Engine
from durableflow.errors import (
    InstanceAlreadyExistsError,
    InstanceNotFoundError,
    OrchestrationFailedError,
    WaitTimeoutError,
)
from durableflow.hub.loop import HubLoop
from durableflow.plugins import PluginSet
from durableflow.registry import Registry

POLICY = OrchestrationIdReusePolicy
STATUS = OrchestrationStatus


@pytest.fixture
def engine_core() -> Iterator[ClientCore]:
    loop = HubLoop.acquire()
    engine = Engine(None)
    yield ClientCore(
        hub=engine,
        loop=loop,
        registry=Registry(),
        converter=Converter(),
        plugins=PluginSet(),
        on_open=engine.open,
    )
    loop.run(engine.close())
    loop.release()


@pytest.fixture
def client(engine_core: ClientCore) -> Client:
    return Client(engine_core)


@pytest.fixture
def async_client(engine_core: ClientCore) -> AsyncClient:
    return AsyncClient(engine_core)


def test_start_is_kept_as_it_was_asked_for(client: Client) -> None:
    moment = datetime(2099, 1, 1, tzinfo=UTC)

    instance_id = client.schedule_new_orchestration(
        "order", input={"cost": 1}, version="2", start_at=moment, tags={"team": "blue"}
    )

    state = client.get_orchestration_state(instance_id)
    assert state is not None
    assert (state.name, state.version, state.runtime_status) == ("order", "2", STATUS.PENDING)
    assert state.get_input() == {"cost": 1}
    assert state.scheduled_start_at == moment
    assert state.tags == {"team": "blue"}
    assert state.execution_id


def test_unknown_instances_are_told_apart_from_pending_ones(client: Client) -> None:
    assert client.get_orchestration_state("nope") is None
    with pytest.raises(InstanceNotFoundError):
        client.wait_for_orchestration_completion("nope", timeout=10)
    with pytest.raises(InstanceNotFoundError):
        client.raise_orchestration_event("nope", "approved")
    with pytest.raises(InstanceNotFoundError):
        client.suspend_orchestration("nope")
    with pytest.raises(InstanceNotFoundError):
        client.get_orchestration_history("nope")


def test_terminating_an_unknown_instance_does_nothing(client: Client) -> None:
    client.terminate_orchestration("nope")


def test_wait_says_that_no_worker_runs_the_orchestrator(client: Client) -> None:
    instance_id = client.schedule_new_orchestration("order")

    with pytest.raises(
        WaitTimeoutError, match="PENDING: no worker connected to sqlite:// runs order"
    ):
        client.wait_for_orchestration_completion(instance_id, timeout=timedelta(milliseconds=20))


def test_waiting_thread_is_woken_by_the_end(client: Client) -> None:
    instance_id = client.schedule_new_orchestration("order")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.wait_for_orchestration_completion, instance_id, timeout=30)

        client.terminate_orchestration(instance_id, output={"why": "enough"})
        state = waiting.result(30)

    assert state.runtime_status is STATUS.TERMINATED
    assert state.serialized_output == '{"why":"enough"}'
    with pytest.raises(OrchestrationFailedError, match="was terminated"):
        state.get_output()


def test_suspended_instance_says_so_until_it_is_resumed(client: Client) -> None:
    instance_id = client.schedule_new_orchestration("order")

    client.suspend_orchestration(instance_id, reason="lunch")
    client.suspend_orchestration(instance_id)
    suspended = client.get_orchestration_state(instance_id)
    client.resume_orchestration(instance_id)
    resumed = client.get_orchestration_state(instance_id)

    assert suspended is not None
    assert suspended.runtime_status is STATUS.SUSPENDED
    assert resumed is not None
    assert resumed.runtime_status is not STATUS.SUSPENDED


def test_id_in_use_is_refused_unless_a_policy_allows_it(client: Client) -> None:
    client.schedule_new_orchestration("first", instance_id="a1")

    with pytest.raises(InstanceAlreadyExistsError):
        client.schedule_new_orchestration("second", instance_id="a1")
    with pytest.raises(InstanceAlreadyExistsError):
        client.schedule_new_orchestration(
            "second", instance_id="a1", reuse_id_policy=POLICY.REPLACE_TERMINAL
        )
    client.schedule_new_orchestration(
        "second", instance_id="a1", reuse_id_policy=POLICY.USE_EXISTING
    )
    kept = client.get_orchestration_state("a1")
    client.schedule_new_orchestration(
        "second", instance_id="a1", reuse_id_policy=POLICY.TERMINATE_AND_REPLACE
    )
    replaced = client.get_orchestration_state("a1")

    assert kept is not None
    assert kept.name == "first"
    assert replaced is not None
    assert replaced.name == "second"


def test_ended_instance_can_be_replaced(client: Client) -> None:
    client.schedule_new_orchestration("first", instance_id="a1")
    client.terminate_orchestration("a1")

    client.schedule_new_orchestration(
        "second", instance_id="a1", reuse_id_policy=POLICY.REPLACE_TERMINAL
    )

    state = client.get_orchestration_state("a1")
    assert state is not None
    assert (state.name, state.runtime_status) == ("second", STATUS.PENDING)


def test_only_ended_instances_are_purged(client: Client) -> None:
    instance_id = client.schedule_new_orchestration("order")

    too_early = client.purge_orchestration(instance_id)
    client.terminate_orchestration(instance_id)
    purged = client.purge_orchestration(instance_id)

    assert too_early.deleted_instance_count == 0
    assert purged.deleted_instance_count == 1
    assert client.get_orchestration_state(instance_id) is None


def test_query_finds_everything_across_its_pages(client: Client) -> None:
    ids = {client.schedule_new_orchestration("order", instance_id=f"a{n}") for n in range(7)}
    client.schedule_new_orchestration("order", instance_id="b")
    client.terminate_orchestration("a3")

    prefixed = client.get_all_orchestration_states(
        OrchestrationQuery(instance_id_prefix="a", max_instance_count=2)
    )
    ended = client.get_all_orchestration_states(
        OrchestrationQuery(runtime_status=[STATUS.TERMINATED])
    )

    assert {state.instance_id for state in prefixed} == ids
    assert [state.instance_id for state in ended] == ["a3"]


def test_history_tells_how_it_ended(client: Client) -> None:
    instance_id = client.schedule_new_orchestration("order", input=1)
    client.terminate_orchestration(instance_id, output="enough")

    history = client.get_orchestration_history(instance_id)

    terminated = [event for event in history if event.kind == "execution_terminated"]
    assert [event.attributes["input"] for event in terminated] == ['"enough"']
    assert history[-1].kind == "execution_completed"
    assert history[-1].attributes["orchestration_status"] == "TERMINATED"


def test_many_threads_may_use_one_client(client: Client) -> None:
    barrier = threading.Barrier(8)

    def start(number: int) -> str:
        barrier.wait(30)
        return client.schedule_new_orchestration("order", instance_id=f"t{number}")

    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(start, range(8)))

    assert {state.instance_id for state in client.query_orchestrations()} == ids


async def test_async_client_does_the_same(async_client: AsyncClient) -> None:
    instance_id = await async_client.schedule_new_orchestration("order", input=1)
    await async_client.raise_orchestration_event(instance_id, "approved", data=True)
    await async_client.suspend_orchestration(instance_id)
    await async_client.resume_orchestration(instance_id)
    await async_client.terminate_orchestration(instance_id)

    state = await async_client.wait_for_orchestration_completion(instance_id, timeout=30)
    started = await async_client.wait_for_orchestration_start(instance_id)
    history = await async_client.get_orchestration_history(instance_id)

    assert state.runtime_status is STATUS.TERMINATED
    assert started.runtime_status is STATUS.TERMINATED
    assert history[-1].kind == "execution_completed"
    assert (await async_client.purge_orchestration(instance_id)).deleted_instance_count == 1
    assert await async_client.get_all_orchestration_states() == []


def test_versions_in_use_are_counted_by_state(client: Client) -> None:
    for number, version in enumerate(["10.0", "9.0", "9.0", None]):
        client.schedule_new_orchestration("order", version=version, instance_id=f"a{number}")
    client.suspend_orchestration("a1")
    client.terminate_orchestration("a3")

    found = client.get_versions_in_use()

    assert [(each.name, each.version, dict(each.counts)) for each in found] == [
        ("order", "9.0", {STATUS.SUSPENDED: 1, STATUS.PENDING: 1}),
        ("order", "10.0", {STATUS.PENDING: 1}),
    ]
    assert [each.total for each in found] == [2, 1]
    assert [each.parked for each in found] == [0, 0]


def test_versions_of_ended_instances_are_counted_on_demand(client: Client) -> None:
    client.schedule_new_orchestration("order", instance_id="a")
    client.terminate_orchestration("a")

    assert client.get_versions_in_use() == []
    (found,) = client.get_versions_in_use(include_ended=True)
    assert (found.version, dict(found.counts)) == (None, {STATUS.TERMINATED: 1})


async def test_versions_in_use_are_counted_for_async_clients(async_client: AsyncClient) -> None:
    await async_client.schedule_new_orchestration("order", version="1.0")

    assert [each.version for each in await async_client.get_versions_in_use()] == ["1.0"]
