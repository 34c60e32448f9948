"""Workers of different versions on one task hub: nothing is lost, nothing runs on the wrong code."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from durableflow import App, Client, InstanceId, OrchestrationStatus
from tests.e2e.conftest import Program, Workshop

pytestmark = pytest.mark.e2e

SECONDS = 40
STEPS = 4
WORKER = """
    import os, sys
    from durableflow import App

    app = App("worker", task_hub=os.environ["HUB"])

    @app.activity
    def step(code: str):
        return code

    def order_of(code):
        def order(ctx, number):
            steps = []
            for _ in range({steps}):
                steps.append((yield ctx.call_activity(step, input=code)))
            yield ctx.create_timer(0.05)
            steps.append((yield ctx.call_activity(step, input=code)))
            return steps
        return order

    for version in sys.argv[1].split(","):
        app.add_orchestrator(
            order_of(version), name="order", version=None if version == "any" else version
        )

    if __name__ == "__main__":
        app.run()
"""


class Fleet:
    """Workers in processes of their own."""

    def __init__(self, workshop: Workshop, task_hub: str) -> None:
        self._workshop = workshop
        self._task_hub = task_hub
        workshop.write("worker.py", WORKER.format(steps=STEPS))

    def add(self, *versions: str) -> Program:
        worker = self._workshop.start("worker.py", ",".join(versions), HUB=self._task_hub)
        worker.wait_for("drain_timeout_seconds")
        return worker


@pytest.fixture
def fleet(workshop: Workshop, task_hub: str) -> Fleet:
    return Fleet(workshop, task_hub)


@pytest.fixture
def client(fleet: Fleet, task_hub: str) -> Iterator[Client]:
    with App("client", task_hub=task_hub).client() as client:
        yield client


def start(client: Client, version: str, count: int) -> list[InstanceId]:
    return [
        client.schedule_new_orchestration("order", input=number, version=version)
        for number in range(count)
    ]


def codes_of(client: Client, instance_id: InstanceId) -> set[str]:
    """Return which code ran the steps of an instance."""
    steps = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS).get_output()
    assert len(steps) == STEPS + 1
    return set(steps)


def count(client: Client, version: str, status: OrchestrationStatus) -> int:
    found = client.get_versions_in_use(include_ended=True)
    return sum(each.counts.get(status, 0) for each in found if each.version == version)


def until_it_takes_work(client: Client, version: str) -> None:
    """Wait until a worker that has just been started is connected."""
    deadline = time.monotonic() + SECONDS
    while codes_of(client, *start(client, version, 1)) != {version}:
        assert time.monotonic() < deadline


def until_some_have_ended(client: Client, version: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not count(client, version, OrchestrationStatus.COMPLETED):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nothing_is_lost_when_a_worker_dies_and_another_comes(fleet: Fleet, client: Client):
    first, _ = fleet.add("one"), fleet.add("two")
    instances = {version: start(client, version, 30) for version in ("one", "two")}
    until_some_have_ended(client, "one")

    first.kill()
    instances["one"] += start(client, "one", 10)
    fleet.add("one", "two")

    for version, started in instances.items():
        for instance_id in started:
            assert codes_of(client, instance_id) == {version}


def test_instances_of_a_version_that_nobody_has_wait_and_are_seen(fleet: Fleet, client: Client):
    worker = fleet.add("three")
    waiting = start(client, "four", 3)
    (ended,) = start(client, "three", 1)

    assert codes_of(client, ended) == {"three"}
    assert count(client, "four", OrchestrationStatus.PENDING) == 3

    worker.send(signal.SIGTERM)
    fleet.add("four")
    for instance_id in waiting:
        assert codes_of(client, instance_id) == {"four"}


def test_the_old_function_for_every_version_leaves_the_new_version_to_who_names_it(
    fleet: Fleet, client: Client
):
    fleet.add("any")
    fleet.add("any", "five")
    until_it_takes_work(client, "five")

    instances = start(client, "five", 20)

    assert {code for each in instances for code in codes_of(client, each)} == {"five"}
