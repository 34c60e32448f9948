"""Workers on the embedded engine, in process and over gRPC."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from durableflow.app_loop import AppLoop
from durableflow.client import Client, ClientCore, OrchestrationStatus
from durableflow.converter import Converter
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.errors import OrchestrationFailedError
from durableflow.hub.loop import HubLoop
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub
from durableflow.hub.remote import RemoteTaskHub
from durableflow.plugins import PluginSet
from durableflow.registry import Registry
from durableflow.replay import OrchestrationContext, when_all
from durableflow.routing import ExactVersionRouting
from durableflow.settings import Settings
from durableflow.worker import ActivityContext, Worker

SECONDS = 20


class House:
    """One engine, its client, and any number of workers, all on the hub loop."""

    def __init__(self, path: Path, undo: ExitStack) -> None:
        self.hub_loop = HubLoop.acquire()
        undo.callback(self.hub_loop.release)
        self.engine = Engine(path)
        self.run(self.engine.open())
        undo.callback(lambda: self.run(self.engine.close()))
        self.app_loop = AppLoop()
        undo.callback(self.app_loop.close)
        self.undo = undo
        self.client = Client(
            ClientCore(
                hub=self.engine,
                loop=self.hub_loop,
                registry=Registry(),
                converter=Converter(),
                plugins=PluginSet(),
            )
        )

    def run(self, coroutine: Any) -> Any:
        return self.hub_loop.run(coroutine, SECONDS)

    def worker(
        self, *functions: Callable[..., Any], hub: TaskHub | None = None, **settings: Any
    ) -> Worker:
        """Start a worker; ``order…`` functions are orchestrators, the others activities."""
        registry = Registry()
        for function in functions:
            if function.__name__.startswith("order"):
                registry.add_orchestrator(function, name="order")
            else:
                registry.add_activity(function)
        plugins = PluginSet()
        plugins.register(ExactVersionRouting())
        worker = Worker(
            hub=hub or self.engine,
            hub_loop=self.hub_loop,
            app_loop=self.app_loop.get,
            registry=registry,
            converter=Converter(),
            plugins=plugins,
            settings=Settings(task_hub="sqlite://", root=Path("/srv"), **settings),
            app=None,
        )
        self.run(worker.start())
        self.undo.callback(lambda: self.run(worker.stop()))
        self.run(worker.wait_ready())
        return worker

    def start(self, input: Any = None) -> str:
        return self.client.schedule_new_orchestration("order", input=input)

    def output(self, instance_id: str) -> Any:
        state = self.client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
        return state.get_output()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as undo:
        yield House(tmp_path / "hub.db", undo)


class Chain:
    """An orchestrator of many steps, which counts how often it begins."""

    def __init__(self) -> None:
        self.begun = 0

    def order(self, ctx: OrchestrationContext, steps: int) -> Any:
        self.begun += 1
        value = 0
        for _ in range(steps):
            value = yield ctx.call_activity("increment", input=value)
        return value


def increment(ctx: ActivityContext, value: int) -> int:
    return value + 1


async def order_async(ctx: OrchestrationContext, steps: int) -> int:
    return sum(await when_all([ctx.call_activity("increment", input=n) for n in range(steps)]))


def test_steps_go_on_from_the_session_without_replay(house: House):
    chain = Chain()
    house.worker(chain.order, increment)

    assert house.output(house.start(30)) == 30
    assert chain.begun == 1


def test_without_sessions_every_step_is_replayed_from_the_streamed_history(house: House):
    chain = Chain()
    house.worker(chain.order, increment, session_cache_count=0)

    assert house.output(house.start(10)) == 10
    assert chain.begun == 11


def test_a_small_cache_serves_many_orchestrations(house: House):
    chain = Chain()
    house.worker(chain.order, increment, session_cache_count=3)

    instance_ids = [house.start(5) for _ in range(20)]

    assert [house.output(instance_id) for instance_id in instance_ids] == [5] * 20


def test_a_coroutine_fans_out_over_async_activities(house: House):
    async def increment(ctx: ActivityContext, value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    house.worker(order_async, increment)

    assert house.output(house.start(200)) == sum(range(1, 201))


def test_an_activity_that_wants_to_end_the_program_fails_its_orchestration_only(house: House):
    chain = Chain()

    def increment(ctx: ActivityContext, value: int) -> int:
        if value == 1:
            raise SystemExit("enough")
        return value + 1

    house.worker(chain.order, increment)

    with pytest.raises(OrchestrationFailedError, match="enough"):
        house.output(house.start(2))
    assert house.output(house.start(1)) == 1


def test_code_that_left_its_history_waits_for_a_worker_with_the_right_code(house: House):
    stepped = threading.Event()

    def order(ctx: OrchestrationContext) -> Any:
        first = yield ctx.call_activity("increment", input=1)
        stepped.set()
        second = yield ctx.wait_for_external_event("go")
        return [first, second]

    def order_changed(ctx: OrchestrationContext) -> Any:
        yield ctx.call_activity("another", input=1)

    first = house.worker(order, increment)
    instance_id = house.start()
    assert stepped.wait(SECONDS)
    house.run(first.drain(SECONDS))

    wrong = house.worker(order_changed)
    house.client.raise_orchestration_event(instance_id, "go", data="on")
    parked = wait_until_parked(house, instance_id)
    assert "nondeterminism" in parked.error_type.lower()
    assert "another" in parked.message
    house.run(wrong.drain(SECONDS))

    house.worker(order, increment)
    assert house.output(instance_id) == [2, "on"]


def wait_until_parked(house: House, instance_id: str) -> Any:
    """Return why an instance is parked, once it is."""

    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = house.client.get_orchestration_state(instance_id)
        assert state is not None
        if state.parked is not None:
            assert state.runtime_status is OrchestrationStatus.RUNNING
            return state.parked
    raise AssertionError("was not parked")


def test_a_name_that_no_worker_has_waits_for_one(house: House):
    house.worker(increment)
    instance_id = house.start(1)

    chain = Chain()
    house.worker(chain.order, increment)

    assert house.output(instance_id) == 1


def test_an_activity_that_is_given_back_runs_on_another_worker(house: House):
    chain = Chain()
    entered, release = threading.Event(), threading.Event()

    def blocking(ctx: ActivityContext, value: int) -> int:
        entered.set()
        release.wait(SECONDS)
        return -1

    blocking.__name__ = "increment"
    first = house.worker(chain.order, blocking)
    instance_id = house.start(1)
    assert entered.wait(SECONDS)

    house.run(first.drain(0))
    house.worker(chain.order, increment)

    assert house.output(instance_id) == 1
    release.set()


def test_two_workers_share_the_work_and_one_leaving_loses_nothing(house: House):
    chain = Chain()
    first = house.worker(chain.order, increment)
    house.worker(chain.order, increment)
    instance_ids = [house.start(20) for _ in range(10)]

    house.run(first.stop())

    assert [house.output(instance_id) for instance_id in instance_ids] == [20] * 10


class Line:
    """A gRPC server before the house's engine that can be cut and restored."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.server = HubServer(house.engine)
        self.port = house.run(self.server.start())
        self.hub = RemoteTaskHub(
            f"127.0.0.1:{self.port}", metadata=(), options=HubOptions(role="worker")
        )
        house.undo.callback(lambda: house.run(self.server.stop(0)))
        house.undo.callback(lambda: house.run(self.hub.close()))
        house.run(self.hub.open())

    def cut(self) -> None:
        self.house.run(self.server.stop(0))

    def restore(self) -> None:
        self.server = HubServer(self.house.engine, port=self.port)
        self.house.run(self.server.start())


@pytest.mark.e2e
def test_a_remote_worker_serves_from_its_sessions(house: House):
    chain = Chain()
    house.worker(chain.order, increment, hub=Line(house).hub)

    assert house.output(house.start(10)) == 10
    assert chain.begun == 1


@pytest.mark.e2e
def test_a_remote_worker_outlives_a_broken_connection(house: House):
    chain = Chain()
    entered, release = threading.Event(), threading.Event()

    def blocking(ctx: ActivityContext, value: int) -> int:
        entered.set()
        release.wait(SECONDS)
        return value + 1

    blocking.__name__ = "increment"
    line = Line(house)
    worker = house.worker(chain.order, blocking, hub=line.hub)
    instance_id = house.start(3)
    assert entered.wait(SECONDS)

    line.cut()
    release.set()
    line.restore()
    house.run(worker.wait_ready())

    assert house.output(instance_id) == 3
