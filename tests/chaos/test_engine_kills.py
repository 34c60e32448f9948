"""An engine that is killed under a thousand running instances, in processes as users start them."""

from __future__ import annotations

import collections
import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from durableflow import (
    Client,
    InstanceAlreadyExistsError,
    OperationalError,
    OrchestrationQuery,
    OrchestrationStatus,
)
from tests.chaos.service import app, order
from tests.e2e.conftest import Program, Workshop
from tests.unit.worker.probing import get

pytestmark = pytest.mark.e2e

SECONDS = 50
INSTANCES = 1000
ACTIVITIES_EACH = 3


class Town:
    """An engine and a worker, each in a process of its own."""

    def __init__(self, workshop: Workshop, port: int) -> None:
        self.workshop = workshop
        self.address = f"grpc://127.0.0.1:{port}"
        self.effects = workshop.folder / "effects.txt"
        self._port = port
        self.engine = self.start_engine()
        self.worker = workshop.start(
            *("-m", "durableflow", "run", "tests.chaos.service:app"),
            DURABLEFLOW_TASK_HUB=self.address,
            DURABLEFLOW_HEALTH_PORT="0",
            EFFECTS=str(self.effects),
        )
        self.worker.wait_for("drain_timeout_seconds")
        found = re.search(r"(http://\S+)/livez", self.worker.output)
        assert found is not None, self.worker.output
        self._health = found[1]

    def start_engine(self) -> Program:
        self.engine = self.workshop.start(
            "-m", "durableflow.engine", "--db", "hub.db", "--port", str(self._port)
        )
        self.engine.wait_for("is served at")
        return self.engine

    def kill_engine(self) -> None:
        self.engine.send(signal.SIGKILL)
        self.engine.end()

    def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        return get(f"{self._health}{path}")


@pytest.fixture
def town(tmp_path: Path, unused_tcp_port: int) -> Iterator[Town]:
    workshop = Workshop(tmp_path)
    try:
        yield Town(workshop, unused_tcp_port)
    finally:
        workshop.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


def insist(call: Callable[[], object]) -> None:
    """Make a call until it is known to have worked."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(OperationalError):
            call()
            return
        assert time.monotonic() < deadline


def start(client: Client, number: int) -> None:
    with contextlib.suppress(InstanceAlreadyExistsError):  # an earlier try had worked
        client.schedule_new_orchestration(order, input=number, instance_id=f"order-{number}")


def running(client: Client) -> int:
    query = OrchestrationQuery(runtime_status=[OrchestrationStatus.RUNNING])
    return sum(1 for _ in client.query_orchestrations(query))


def effects(town: Town) -> list[str]:
    return town.effects.read_text().splitlines() if town.effects.exists() else []


@pytest.mark.timeout(150)
def test_a_thousand_running_instances_survive_kills_of_their_engine(town: Town):
    with app.client(task_hub=town.address) as client, ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda n: insist(lambda: start(client, n)), range(INSTANCES)))
        until(lambda: running(client) == INSTANCES)
        assert town.probe("/readyz")[0] == 200

        raising = callers.map(
            lambda n: insist(lambda: client.raise_orchestration_event(f"order-{n}", "go")),
            range(INSTANCES),
        )
        for _ in range(2):
            done = len(effects(town))
            until(lambda done=done: len(effects(town)) > done + 100)
            town.kill_engine()
            until(lambda: town.probe("/readyz")[0] == 503)
            assert "UNAVAILABLE" in town.probe("/readyz")[1]["reason"]
            assert town.probe("/livez")[0] == 200
            town.start_engine()
            until(lambda: town.probe("/readyz")[0] == 200)
        list(raising)

        results = {n: output(client, n) for n in range(INSTANCES)}
        kinds = collections.Counter(
            event.kind for event in client.get_orchestration_history("order-0")
        )

    assert results == {number: number + 3 for number in range(INSTANCES)}
    assert kinds["task_scheduled"] == kinds["task_completed"] == ACTIVITIES_EACH
    assert len(set(effects(town))) == ACTIVITIES_EACH * INSTANCES
    town.worker.send(signal.SIGTERM)
    assert town.worker.end() == 0
    assert "Traceback" not in town.worker.output


def output(client: Client, number: int) -> int:
    state = client.wait_for_orchestration_completion(f"order-{number}", timeout=SECONDS)
    return int(state.get_output(int))
