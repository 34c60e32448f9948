"""Orchestrators and activities called by names: misspelt, elsewhere, or nowhere at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from durableflow import App, Client, NotRegisteredError, OrchestrationFailedError, WaitTimeoutError
from durableflow.client import OrchestrationStatus
from tests.e2e.conftest import Program, Workshop

pytestmark = pytest.mark.e2e

SECONDS = 20
READY = "drain_timeout_seconds"

SHOP = """
    # shop.py
    from durableflow import App, Orchestration, OrchestrationContext

    app = App("shop")

    @app.activity
    def charge(amount: int) -> str:
        return f"{amount} charged"

    @app.orchestrator
    def buy(ctx: OrchestrationContext, activity: str) -> Orchestration[str]:
        return (yield ctx.call_activity(activity, input=5))

    if __name__ == "__main__":
        app.run()
"""

WAREHOUSE = """
    # warehouse.py
    import pathlib, time

    from durableflow import App

    app = App("warehouse", task_hub="sqlite:///shop.db")

    @app.activity
    def pack(amount: int) -> str:
        print("packing", flush=True)
        while not pathlib.Path("packed").exists():
            time.sleep(0.01)
        return f"{amount} packed"

    if __name__ == "__main__":
        app.run()
"""


@pytest.fixture
def shop(workshop: Workshop) -> Program:
    workshop.write("shop.py", SHOP)
    program = workshop.start("shop.py")
    program.wait_for(READY)
    return program


@pytest.fixture
def client(shop: Program, workshop: Workshop) -> Iterator[Client]:
    """A client in another process than the worker, of an app with nothing registered."""
    with App("visitor", root=workshop.folder, task_hub="sqlite:///shop.db").client() as client:
        yield client


def test_a_misspelt_activity_fails_the_instance_at_the_call(client: Client):
    with pytest.raises(OrchestrationFailedError) as caught:
        client.run_orchestration("buy", input="Charge", timeout=SECONDS)

    assert "NotRegisteredError: This app has no activity 'Charge', but it has 'charge'" in str(
        caught.value
    )


def test_an_activity_that_nobody_runs_is_warned_about_once_and_named_by_the_wait(
    shop: Program, client: Client, workshop: Workshop
):
    for instance_id in ("a", "b"):
        client.schedule_new_orchestration("buy", input="chrage", instance_id=instance_id)
        client.wait_for_orchestration_start(instance_id, timeout=SECONDS)

    with pytest.raises(WaitTimeoutError) as caught:
        client.wait_for_orchestration_completion("a", timeout=0.1)

    assert (
        "waited for activity 'chrage', which no worker connected to "
        f"sqlite:///{workshop.folder / 'shop.db'} runs."
    ) in str(caught.value)
    shop.send(signal.SIGTERM)
    assert shop.end() == 0
    assert shop.output.count("calls activity 'chrage', which this app does not run") == 1
    assert "Was 'charge' meant?" in shop.output


def test_an_activity_of_another_app_is_waited_for(client: Client, workshop: Workshop):
    client.schedule_new_orchestration("buy", input="pack", instance_id="a")
    client.wait_for_orchestration_start("a", timeout=SECONDS)
    workshop.write("warehouse.py", WAREHOUSE)
    workshop.start("warehouse.py").wait_for("packing")

    with pytest.raises(WaitTimeoutError, match=r"waited for activity 'pack'[.]$"):
        client.wait_for_orchestration_completion("a", timeout=0.1)
    (workshop.folder / "packed").touch()

    state = client.wait_for_orchestration_completion("a", timeout=SECONDS)
    assert state.get_output() == "5 packed"


def test_an_orchestrator_that_nobody_has_stays_pending_and_is_named_by_the_wait(
    client: Client, workshop: Workshop
):
    client.schedule_new_orchestration("sell", instance_id="a")

    with pytest.raises(WaitTimeoutError) as caught:
        client.wait_for_orchestration_start("a", timeout=0.1)

    hub = f"sqlite:///{workshop.folder / 'shop.db'}"
    assert f"PENDING: no worker connected to {hub} runs sell." in str(caught.value)
    state = client.get_orchestration_state("a")
    assert state is not None
    assert state.runtime_status is OrchestrationStatus.PENDING


def test_an_orchestrator_whose_only_worker_has_left_says_so(shop: Program, workshop: Workshop):
    with App("shop", root=workshop.folder).client() as client:
        client.schedule_new_orchestration("buy", input="pack", instance_id="a")
        client.wait_for_orchestration_start("a", timeout=SECONDS)
        shop.send(signal.SIGTERM)
        assert shop.end() == 0

        with pytest.raises(WaitTimeoutError, match=r"RUNNING: no worker connected to .* runs buy"):
            client.wait_for_orchestration_completion("a", timeout=0.1)


def test_the_misspelt_name_of_an_orchestrator_is_refused_before_anything_is_sent(
    workshop: Workshop, shop: Program
):
    app = App("shop", root=workshop.folder)
    app.add_orchestrator(lambda ctx: None, name="buy")

    with app.client() as client, pytest.raises(NotRegisteredError, match="it has 'buy'"):
        client.schedule_new_orchestration("Buy")
