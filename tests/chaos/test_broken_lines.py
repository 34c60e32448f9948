"""Workers and clients whose line to the engine breaks in all sorts of ways."""

from __future__ import annotations

import collections
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from durableflow import (
    ActivityContext,
    App,
    Client,
    InstanceAlreadyExistsError,
    OperationalError,
    Orchestration,
    OrchestrationContext,
    when_all,
)
from durableflow.engine.engine import Engine
from durableflow.engine.server import HubServer
from durableflow.hub.loop import HubLoop
from tests.chaos.proxy import Proxy
from tests.unit.worker.probing import get

pytestmark = pytest.mark.e2e

T = TypeVar("T")

SECONDS = 40
INSTANCES = 30
STEPS = 4
ROUNDS = 6


class Service:
    """An app whose worker and clients reach the engine through a proxy only."""

    def __init__(self, proxy: Proxy, health_port: int) -> None:
        self.proxy = proxy
        self.app = App(
            "chaos",
            task_hub=f"grpc://127.0.0.1:{proxy.port}",
            health_port=health_port,
            drain_timeout_seconds=5,
        )
        self.app.add_activity(self.add)
        self.app.add_orchestrator(order)
        self.added = 0
        self._probe = f"http://127.0.0.1:{health_port}/readyz"

    def add(self, ctx: ActivityContext, numbers: list[int]) -> int:
        self.added += 1
        return sum(numbers)

    def wait_ready(self) -> None:
        until(lambda: get(self._probe)[0] == 200)

    def wait_unready(self, reason: str) -> None:
        until(lambda: reason in get(self._probe)[1].get("reason", ""))

    def wait_progress(self, starter: threading.Thread) -> None:
        """Wait until more work is done, or nobody asks for any more."""
        added = self.added
        until(lambda: self.added > added or not starter.is_alive())


def order(ctx: OrchestrationContext, number: int) -> Orchestration[list[int]]:
    total = 0
    for step in range(STEPS):
        total = yield ctx.call_activity("add", input=[total, step])
    yield ctx.wait_for_external_event("go")
    parts = yield when_all([ctx.call_activity("add", input=[number, n]) for n in range(STEPS)])
    yield ctx.create_timer(0.01)
    return [total, *parts]


def expected(number: int) -> list[int]:
    return [sum(range(STEPS)), *(number + n for n in range(STEPS))]


@pytest.fixture
def service(tmp_path: Path, unused_tcp_port: int) -> Iterator[Service]:
    with ExitStack() as undo:
        loop = HubLoop.acquire()
        undo.callback(loop.release)
        engine = Engine(tmp_path / "hub.db", synchronous="normal")
        loop.run(engine.open(), SECONDS)
        undo.callback(lambda: loop.run(engine.close(), SECONDS))
        server = HubServer(engine)
        port = loop.run(server.start(), SECONDS)
        undo.callback(lambda: loop.run(server.stop(0), SECONDS))
        yield Service(undo.enter_context(Proxy(port)), unused_tcp_port)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


class Starter(threading.Thread):
    """Starts instances and raises their events, whatever happens to the line."""

    def __init__(self, client: Client) -> None:
        super().__init__(name="starter")
        self._client = client

    def run(self) -> None:
        for number in range(INSTANCES):
            insist(partial(self._start, number))
        for number in range(INSTANCES):
            insist(partial(self._client.raise_orchestration_event, f"order-{number}", "go"))

    def _start(self, number: int) -> None:
        with contextlib.suppress(InstanceAlreadyExistsError):  # an earlier try had worked
            self._client.schedule_new_orchestration(
                order, input=number, instance_id=f"order-{number}"
            )


def insist(call: Callable[[], T]) -> T:
    """Make a call until it is known to have worked.  (An event that comes twice does no harm.)"""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return call()
        except OperationalError:
            assert time.monotonic() < deadline


def reset(service: Service) -> None:
    service.proxy.reset()


def half_close_requests(service: Service) -> None:
    service.proxy.half_close("requests")


def half_close_replies(service: Service) -> None:
    service.proxy.half_close("replies")


def cut(service: Service) -> None:
    service.proxy.cut()
    service.wait_unready("UNAVAILABLE")
    service.proxy.open()


def delay(service: Service) -> None:
    service.proxy.delay(0.005)


TROUBLES = [reset, half_close_requests, half_close_replies, cut, delay]


def check_nothing_is_lost(client: Client) -> None:
    for number in range(INSTANCES):
        instance_id = f"order-{number}"
        wait = partial(client.wait_for_orchestration_completion, instance_id, timeout=SECONDS)
        assert insist(wait).get_output() == expected(number)
        history = insist(partial(client.get_orchestration_history, instance_id))
        kinds = collections.Counter(event.kind for event in history)
        assert kinds["task_scheduled"] == kinds["task_completed"] == 2 * STEPS
        assert kinds["execution_completed"] == 1


@pytest.mark.parametrize("trouble", TROUBLES)
def test_nothing_is_lost_and_nothing_hangs(service: Service, trouble: Callable[[Service], None]):
    with service.app.running() as client:
        starter = Starter(client)
        starter.start()
        for _ in range(ROUNDS):
            service.wait_ready()
            service.wait_progress(starter)
            trouble(service)
        starter.join()

        check_nothing_is_lost(client)
        service.wait_ready()
    assert service.proxy.broken or trouble is delay


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_whatever_happens_in_whatever_order(service: Service, seed: int):
    dice = random.Random(seed)
    with service.app.running() as client:
        starter = Starter(client)
        starter.start()
        for _ in range(2 * ROUNDS):
            if dice.random() < 0.5:
                service.wait_ready()
            service.wait_progress(starter)
            dice.choice(TROUBLES)(service)
        starter.join()

        check_nothing_is_lost(client)
        service.wait_ready()


def test_a_worker_that_starts_before_its_engine_is_unready_until_it_comes(service: Service):
    service.proxy.cut()
    with service.app.running() as client:
        service.wait_unready("UNAVAILABLE")

        service.proxy.open()
        service.wait_ready()

        client.schedule_new_orchestration(order, input=1, instance_id="order-1")
        client.raise_orchestration_event("order-1", "go")
        state = client.wait_for_orchestration_completion("order-1", timeout=SECONDS)
        assert state.get_output() == expected(1)
