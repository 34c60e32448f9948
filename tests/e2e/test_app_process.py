"""``app.run()`` in a process of its own: banner, signals, kills, the module imported twice."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.conftest import Workshop

pytestmark = pytest.mark.e2e

ORDERS = """
    # orders.py
    import pathlib, sys, time

    from durableflow import App, Orchestration, OrchestrationContext

    app = App("orders")

    @app.activity
    def wait_for_file(name: str) -> str:
        print("waiting for", name, flush=True)
        while not pathlib.Path(name).exists():
            time.sleep(0.01)
        return f"{name} is there"

    @app.orchestrator(version="1.0")
    def watch(ctx: OrchestrationContext, name: str) -> Orchestration[str]:
        return (yield ctx.call_activity(wait_for_file, input=name))

    if __name__ == "__main__":
        app.run()
"""
CLIENT = """
    # client.py
    import sys

    from orders import app, watch

    with app.client() as client:
        instance_id = client.schedule_new_orchestration(watch, input=sys.argv[1], instance_id="w")
        print("accepted", flush=True)
        print(client.wait_for_orchestration_completion(instance_id, timeout=30).get_output())
"""
READY = "drain_timeout_seconds"


@pytest.fixture
def orders(workshop: Workshop) -> Workshop:
    workshop.write("orders.py", ORDERS)
    workshop.write("client.py", CLIENT)
    return workshop


def test_the_banner_says_what_is_served_from_where_and_set_by_whom(orders: Workshop):
    worker = orders.start("orders.py", DURABLEFLOW_MAX_CONCURRENT_ACTIVITIES="7")
    worker.wait_for(READY)
    worker.send(signal.SIGTERM)
    worker.end()

    assert "serves app 'orders'" in worker.output
    assert f"sqlite:///{orders.folder / 'orders.db'}" in worker.output
    assert "in this process, serving others at 127.0.0.1:" in worker.output
    assert "watch  1.0" in worker.output
    assert "wait_for_file" in worker.output
    assert (
        "max_concurrent_activities = 7  (environment DURABLEFLOW_MAX_CONCURRENT_ACTIVITIES)"
        in worker.output
    )
    assert "session_cache_count = 500  (default)" in worker.output


def test_the_banner_finds_the_engine_behind_payload_codecs(workshop: Workshop):
    workshop.write(
        "plain.py",
        """
        from durableflow import App, hookimpl

        class Codec:
            @hookimpl
            def register_payload_codecs(self):
                return [self]

            def encodes(self, field, text): return False
            def encode(self, field, text, *, instance_id): return text
            def decodes(self, field, text): return False
            def decode(self, field, text, *, instance_id): return text

        app = App("plain", plugins=[Codec()])

        if __name__ == "__main__":
            app.run()
        """,
    )

    worker = workshop.start("plain.py")
    worker.wait_for(READY)

    assert "in this process, serving others at 127.0.0.1:" in worker.output


def test_an_argument_that_hides_the_environment_is_warned_about(workshop: Workshop):
    workshop.write(
        "orders.py", ORDERS.replace('App("orders"', 'App("orders", task_hub="sqlite://"')
    )

    worker = workshop.start("orders.py", DURABLEFLOW_TASK_HUB="sqlite:///production.db")
    worker.wait_for(READY)

    assert "WARNING" in worker.output
    assert "task_hub given as an argument hides DURABLEFLOW_TASK_HUB" in worker.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_running_activity_finish(orders: Workshop, number: signal.Signals):
    worker = orders.start("orders.py")
    worker.wait_for(READY)
    client = orders.start("client.py", "flag")
    worker.wait_for("waiting for flag")

    worker.send(number)
    worker.wait_for(f"{number.name}: draining")
    (orders.folder / "flag").touch()

    assert worker.end() == 0, worker.output
    assert "app 'orders' stopped" in worker.output
    assert "Traceback" not in worker.output
    client.kill()
    assert orders.run("client.py", "flag")  # the file is usable


def test_draining_ends_when_its_time_is_over(orders: Workshop):
    worker = orders.start("orders.py", DURABLEFLOW_DRAIN_TIMEOUT_SECONDS="0.2")
    worker.wait_for(READY)
    orders.start("client.py", "never")
    worker.wait_for("waiting for never")

    worker.send(signal.SIGTERM)

    assert worker.end() == 0, worker.output
    assert "it is given back and runs again" in worker.output


def test_a_second_signal_stops_at_once(orders: Workshop):
    worker = orders.start("orders.py")
    worker.wait_for(READY)
    orders.start("client.py", "never")
    worker.wait_for("waiting for never")

    worker.send(signal.SIGINT)
    worker.wait_for("draining")
    worker.send(signal.SIGINT)

    assert worker.end() == -signal.SIGINT, worker.output
    assert "Stopped at once" in worker.output


def test_a_worker_that_cannot_go_on_ends_its_process_with_the_reason(workshop: Workshop):
    workshop.write(
        "main.py",
        """
        from contextlib import asynccontextmanager

        import threading

        from durableflow import App

        @asynccontextmanager
        async def lifespan(app):
            async with app.async_client() as client:
                for _ in range(3):
                    await client.schedule_new_orchestration(hang)
            yield

        app = App("main", task_hub="sqlite://", turn_timeout_seconds=0.05, lifespan=lifespan)

        @app.orchestrator
        def hang(ctx) -> None:
            threading.Event().wait()

        app.run()
        """,
    )

    status, output = workshop.run("main.py")

    assert status == 1
    assert "OperationalError: The worker of app 'main' gave up" in output


def test_a_worker_whose_file_is_taken_away_ends_and_says_so(orders: Workshop):
    worker = orders.start("-m", "durableflow", "run", "orders:app")
    worker.wait_for(READY)

    (orders.folder / "orders.db").rename(orders.folder / "elsewhere.db")

    assert worker.end() == 1
    assert "was moved, deleted or replaced" in worker.output
    assert "Traceback" not in worker.output


def test_a_killed_worker_is_replaced_and_its_client_need_not_notice(orders: Workshop):
    worker = orders.start("orders.py")
    worker.wait_for(READY)
    client = orders.start("client.py", "flag")
    worker.wait_for("waiting for flag")

    worker.kill()
    second = orders.start("orders.py")
    second.wait_for("waiting for flag")
    (orders.folder / "flag").touch()

    assert client.end() == 0, client.output
    assert "flag is there" in client.output


def test_a_second_worker_joins_and_takes_over_from_a_killed_one(orders: Workshop):
    first = orders.start("orders.py")
    first.wait_for(READY)
    second = orders.start("orders.py")
    second.wait_for(READY)
    assert "in another process, at grpc://127.0.0.1:" in second.output
    client = orders.start("client.py", "flag")
    client.wait_for("accepted")

    first.kill()
    second.wait_for("waiting for flag")
    (orders.folder / "flag").touch()

    assert client.end() == 0, client.output
    second.send(signal.SIGTERM)
    assert second.end() == 0, second.output


def test_a_client_in_another_folder_finds_the_same_hub(orders: Workshop):
    elsewhere = orders.folder / "elsewhere"
    elsewhere.mkdir()
    worker = orders.start("orders.py")
    worker.wait_for(READY)
    (orders.folder / "flag").touch()

    status, output = orders.run(
        str(orders.folder / "client.py"), str(orders.folder / "flag"), folder=elsewhere
    )

    assert (status, list(elsewhere.iterdir())) == (0, []), output
    assert "flag is there" in output


def test_an_app_in_a_repl_belongs_to_the_current_folder(workshop: Workshop):
    status, output = workshop.run(
        "-c", "from durableflow import App; app = App('notes'); print(app.root)"
    )

    assert (status, output.strip()) == (0, str(workshop.folder))


def test_what_is_defined_again_at_a_prompt_replaces_what_it_was_while_the_app_runs(
    workshop: Workshop,
):
    output = workshop.type(
        """
        from durableflow import *
        app = App("notes")
        @app.activity
        def hello(name: str) -> str: return "Hello " + name

        @app.orchestrator
        def greet(ctx: OrchestrationContext) -> str: return (yield ctx.call_activity(hello, input="Ann"))

        app.start()
        client = app.client()
        client.run_orchestration(greet, timeout=20)
        @app.activity
        def hello(name: str) -> str: return "Good morning " + name

        client.run_orchestration(greet, timeout=20)
        client.close()
        app.stop()
        """
    )

    assert output == "'Hello Ann'\n'Good morning Ann'\n"


def test_a_program_that_is_also_imported_is_refused_with_the_way_to_start_it(orders: Workshop):
    orders.write(
        "handlers.py",
        """
        from orders import app

        @app.activity
        def ship(item: str) -> None: ...
        """,
    )
    orders.write(
        "orders.py", ORDERS.replace("    if __name__", "    import handlers\n\n    if __name__")
    )

    status, output = orders.run("orders.py")

    assert status == 1
    assert "SetupError" in output
    assert "orders.py" in output
    assert "start it with `python -m durableflow run orders:app`" in output.replace(
        "Start", "start"
    )
    assert not (orders.folder / "orders.db").exists()


def test_a_program_that_is_also_imported_but_makes_one_app_runs(workshop: Workshop):
    workshop.write("helper.py", "import main\n")
    workshop.write(
        "main.py",
        """
        from durableflow import App

        import helper

        if __name__ == "__main__":
            App("single").run()
        """,
    )

    worker = workshop.start("main.py")

    worker.wait_for("serves app 'single'")


def test_the_advised_start_works_with_the_handlers(orders: Workshop):
    orders.write("handlers.py", "from orders import app\n\n@app.activity\ndef ship(): ...\n")
    orders.write(
        "orders.py", ORDERS.replace("    if __name__", "    import handlers\n\n    if __name__")
    )

    worker = orders.start("-m", "durableflow", "run", "orders:app")
    worker.wait_for(READY)
    worker.send(signal.SIGTERM)

    assert worker.end() == 0
    assert "ship" in worker.output


def test_logging_that_is_configured_already_stays_as_it_is(orders: Workshop):
    orders.write(
        "main.py",
        """
        import logging
        logging.basicConfig(level=logging.DEBUG, format="mine: %(message)s")
        from orders import app
        app.run()
        """,
    )

    worker = orders.start("main.py", DURABLEFLOW_TASK_HUBB="x")
    worker.wait_for(READY)

    assert "mine: DURABLEFLOW_TASK_HUBB of the environment is no setting" in worker.output
    assert " WARNING " not in worker.output
