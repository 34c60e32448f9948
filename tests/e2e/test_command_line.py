"""``python -m durableflow``."""

from __future__ import annotations

import signal

import pytest

import durableflow
from tests.e2e.conftest import Workshop

pytestmark = pytest.mark.e2e

COMMAND = ("-m", "durableflow")


@pytest.fixture
def shop(workshop: Workshop) -> Workshop:
    workshop.write(
        "shop/orders.py",
        """
        from durableflow import App, OrchestrationContext

        app = App("orders")
        helper = "not an app"

        @app.orchestrator
        def nothing(ctx: OrchestrationContext) -> None: ...
        """,
    )
    workshop.write("empty.py", "")
    workshop.write("broken.py", "import a_module_that_nobody_has\n")
    return workshop


def test_it_says_its_version(workshop: Workshop):
    assert workshop.run(*COMMAND, "--version") == (0, f"durableflow {durableflow.__version__}\n")


def test_without_a_command_it_shows_how_to_use_it(workshop: Workshop):
    status, output = workshop.run(*COMMAND)

    assert status == 2
    assert "usage: python -m durableflow" in output
    assert "Traceback" not in output


def test_it_starts_a_worker_of_an_app_in_a_package(shop: Workshop):
    worker = shop.start(*COMMAND, "run", "shop.orders:app")
    worker.wait_for("drain_timeout_seconds")
    worker.send(signal.SIGTERM)

    assert worker.end() == 0
    assert f"sqlite:///{shop.folder / 'shop' / 'orders.db'}" in worker.output


def test_the_attribute_is_app_unless_named(shop: Workshop):
    worker = shop.start(*COMMAND, "run", "shop.orders")
    worker.wait_for("serves app 'orders'")


def test_the_task_hub_can_be_named(shop: Workshop):
    worker = shop.start(*COMMAND, "run", "shop.orders:app", "--task-hub", "sqlite:///other.db")
    worker.wait_for("drain_timeout_seconds")

    assert f"sqlite:///{shop.folder / 'shop' / 'other.db'}  (argument)" in worker.output


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("shop/orders.py", "python -m durableflow run shop.orders:app"),
        ("shop/orders.py:app", "python -m durableflow run shop.orders:app"),
        ("shop.order:app", "There is no module 'shop.order'"),
        ("shp.orders:app", "There is no module 'shp'"),
        ("shop.orders:ap", "It has shop.orders:app"),
        ("shop.orders:helper", "has a str as 'helper'"),
        ("empty:app", "It has no App at all"),
        (":app", "MODULE:APP"),
        (".orders:app", "MODULE:APP"),
    ],
)
def test_a_target_that_is_no_app_is_explained(shop: Workshop, target: str, advice: str):
    status, output = shop.run(*COMMAND, "run", target)

    assert status == 2
    assert advice in output
    assert "Traceback" not in output


def test_an_import_that_fails_inside_the_module_shows_where(shop: Workshop):
    status, output = shop.run(*COMMAND, "run", "broken:app")

    assert status == 1
    assert "broken.py" in output
    assert "a_module_that_nobody_has" in output


@pytest.mark.parametrize("address", ["orders.db", "http://localhost:1", "nonsense://x", ""])
def test_a_wrong_address_is_explained_without_a_traceback(shop: Workshop, address: str):
    status, output = shop.run(*COMMAND, "run", "shop.orders:app", "--task-hub", address)

    assert status == 2
    assert "sqlite://" in output
    assert "Traceback" not in output


def test_a_hub_that_cannot_be_used_is_explained_without_a_traceback(shop: Workshop):
    shop.write("not-a-database.db", "plain text " * 1000)
    address = f"sqlite:///{shop.folder / 'not-a-database.db'}"

    status, output = shop.run(*COMMAND, "run", "shop.orders:app", "--task-hub", address)

    assert status == 1
    assert "not-a-database.db" in output
    assert "Traceback" not in output


def test_it_lists_the_plugins_of_an_app(shop: Workshop):
    shop.write(
        "shop/orders.py",
        """
        from durableflow import App, hookimpl

        class Audit:
            @hookimpl
            def worker_started(self): ...
            @hookimpl
            def turn_finished(self): ...

        app = App("orders", plugins=[Audit()])
        """,
    )

    status, output = shop.run(*COMMAND, "plugins", "shop.orders:app")

    lines = output.splitlines()
    assert status == 0
    assert lines[0] == "Active in app 'orders', in the order in which they are asked:"
    assert lines[1].split() == [
        "shop.orders.Audit",
        "shop.orders",
        "turn_finished,",
        "worker_started",
    ]
    assert "ExactVersionRouting" in lines[2]
    assert f"durableflow {durableflow.__version__}" in lines[2]


def test_it_lists_the_plugins_that_settings_name(shop: Workshop):
    shop.write("shop/durableflow.toml", "[plugins.nobodys]")

    status, output = shop.run(*COMMAND, "plugins", "shop.orders:app")

    assert status == 2
    assert "'nobodys', which is not installed" in output
    assert "Traceback" not in output


def test_calls_of_hooks_are_traced_on_demand(shop: Workshop):
    worker = shop.start(*COMMAND, "run", "shop.orders:app", DURABLEFLOW_TRACE_HOOKS="1")

    worker.wait_for("Hook work_item_versions(name, available): asked")
    worker.wait_for("trace_hooks = True  (environment DURABLEFLOW_TRACE_HOOKS)")


ORDERS = """
    from durableflow import App, Orchestration, OrchestrationContext

    app = App("orders")

    @app.activity
    def charge(order: str) -> str:
        return order

    @app.orchestrator
    def order(ctx: OrchestrationContext, order: str) -> Orchestration[str]:
        return (yield ctx.call_activity(charge, input=order))

    if __name__ == "__main__":
        with app.running() as client:
            client.run_orchestration("order", input="lamp", instance_id="a")
"""


def test_an_exported_history_is_replayed_against_the_code(workshop: Workshop):
    workshop.write("orders.py", ORDERS)
    assert workshop.run("orders.py") == (0, "")
    status, history = workshop.run(*COMMAND, "export", "orders:app", "a")
    assert status == 0
    workshop.write("history.json", history)

    same = workshop.run(*COMMAND, "replay", "orders:app", "history.json")
    workshop.write(
        "orders.py", ORDERS.replace("call_activity(charge, input=order)", "create_timer(1)")
    )
    changed = workshop.run(*COMMAND, "replay", "orders:app", "history.json")

    assert same[0] == 0
    assert "history.json: orchestrator 'order', 8 events: fits" in same[1]
    assert changed[0] == 1
    assert "scheduled activity 'charge', but the code now creates a timer" in changed[1]


def test_what_is_no_history_is_no_difference(workshop: Workshop):
    workshop.write("orders.py", ORDERS)
    workshop.write("history.json", "nonsense")

    status, output = workshop.run(*COMMAND, "replay", "orders:app", "history.json")

    assert status == 2
    assert "history.json is no history" in output
    assert "Traceback" not in output


def test_the_history_of_no_instance_is_not_exported(workshop: Workshop):
    workshop.write("orders.py", ORDERS)

    status, output = workshop.run(*COMMAND, "export", "orders:app", "nobody")

    assert status == 1
    assert "holds no instance 'nobody'" in output


def test_instances_are_counted_by_version(workshop: Workshop):
    workshop.write("orders.py", ORDERS)
    workshop.run("orders.py")

    now = workshop.run(*COMMAND, "versions", "orders:app")
    ever = workshop.run(*COMMAND, "versions", "orders:app", "--all")

    assert now[0] == ever[0] == 0
    assert "There are no instances." in now[1]
    assert "order without a version: 1 COMPLETED" in ever[1]
