"""Workers that are told to stop: those that own the file, that joined it, and over gRPC."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from typing import Literal

import pytest

from tests.e2e.conftest import Program, Workshop
from tests.unit.worker.probing import get

pytestmark = pytest.mark.e2e

SECONDS = 30
READY = "drain_timeout_seconds"

WORKER = """
    # work.py
    import asyncio, os, pathlib, sys, threading, time

    from durableflow import ActivityContext, App, Orchestration, OrchestrationContext, when_all

    app = App("work")

    def say(text: str) -> None:
        os.write(1, f"{text}\\n".encode())  # in one piece

    def wait_for(flag: str) -> None:
        while not pathlib.Path(flag).exists():
            time.sleep(0.01)

    @app.activity
    def sync(ctx: ActivityContext, flag: str) -> str:
        say("sync begins")
        wait_for(flag)
        return "sync by " + os.environ["NAME"]

    @app.activity
    async def on_loop(ctx: ActivityContext, flag: str) -> str:
        say("on_loop begins")
        await asyncio.to_thread(wait_for, flag)
        return "on_loop by " + os.environ["NAME"]

    @app.activity(executor="process")
    def in_process(ctx: ActivityContext, flag: str) -> str:
        say("in_process begins")
        wait_for(flag)
        return "in_process by " + os.environ["NAME"]

    @app.orchestrator
    def order(ctx: OrchestrationContext, flag: str) -> Orchestration[list[str]]:
        kinds = (sync, on_loop, in_process)
        return (yield when_all([ctx.call_activity(kind, input=flag) for kind in kinds]))

    if __name__ == "__main__":
        app.run()
"""
OWNER = """
    # owner.py: owns the file, and can do nothing else
    from durableflow import App

    app = App("work")

    @app.activity
    def nothing() -> None: ...

    if __name__ == "__main__":
        app.run()
"""
CLIENT = """
    # client.py
    import sys

    from work import app, order

    with app.client() as client:
        match sys.argv[1]:
            case "start":
                client.schedule_new_orchestration(order, input=sys.argv[2], instance_id="o")
            case "wait":
                state = client.wait_for_orchestration_completion("o", timeout=30)
                print(*state.get_output(), sep=", ")
"""

Place = Literal["owning", "joined", "grpc"]


class Town:
    """A worker in a place, and what it needs there."""

    def __init__(self, workshop: Workshop, place: Place, port: int) -> None:
        self.workshop = workshop
        self._settings: dict[str, str] = {}
        workshop.write("work.py", WORKER)
        workshop.write("owner.py", OWNER)
        workshop.write("client.py", CLIENT)
        if place == "joined":
            workshop.start("owner.py").wait_for(READY)
        elif place == "grpc":
            words = ("-m", "durableflow.engine", "--db", "work.db", "--port", str(port))
            workshop.start(*words).wait_for("is served at")
            self._settings["DURABLEFLOW_TASK_HUB"] = f"grpc://127.0.0.1:{port}"

    def worker(self, name: str, **settings: str) -> Program:
        worker = self.workshop.start("work.py", NAME=name, **self._settings, **settings)
        worker.wait_for(READY)
        return worker

    def busy_worker(self, name: str, **settings: str) -> Program:
        """A worker whose activities wait for the flag."""
        worker = self.worker(name, **settings)
        assert self.client("start", "flag") == ""
        for kind in ("sync", "on_loop", "in_process"):
            worker.wait_for(f"{kind} begins")
        return worker

    def client(self, *words: str) -> str:
        status, text = self.workshop.run("client.py", *words, NAME="client", **self._settings)
        assert status == 0, text
        return text.strip()

    def raise_flag(self) -> None:
        (self.workshop.folder / "flag").touch()


@pytest.fixture(params=["owning", "joined", "grpc"])
def town(request: pytest.FixtureRequest, workshop: Workshop, unused_tcp_port: int) -> Town:
    return Town(workshop, request.param, unused_tcp_port)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline


def test_what_runs_is_finished_and_nothing_new_is_taken(town: Town):
    worker = town.busy_worker("first", DURABLEFLOW_HEALTH_PORT="0")
    found = re.search(r"(http://\S+)/livez", worker.output)
    assert found is not None
    assert get(f"{found[1]}/readyz")[0] == 200

    worker.send(signal.SIGTERM)
    until(lambda: get(f"{found[1]}/readyz")[1].get("reason") == "stopping")
    assert get(f"{found[1]}/livez")[0] == 200
    town.raise_flag()

    assert worker.end() == 0, worker.output
    assert "given back" not in worker.output
    town.worker("second")
    assert town.client("wait") == "sync by first, on_loop by first, in_process by first"


def test_what_does_not_end_in_time_runs_again_elsewhere(town: Town):
    worker = town.busy_worker("first", DURABLEFLOW_DRAIN_TIMEOUT_SECONDS="0.1")

    worker.send(signal.SIGTERM)

    assert worker.end() == 0, worker.output
    assert worker.output.count("given back and runs again") == 3
    town.raise_flag()
    town.worker("second")
    assert town.client("wait") == "sync by second, on_loop by second, in_process by second"


HANGING = """
    # hanging.py
    import asyncio, os, threading

    from durableflow import App, Orchestration, OrchestrationContext, when_all

    app = App("hanging")
    never = threading.Event()

    def say(text: str) -> None:
        os.write(1, f"{text}\\n".encode())  # in one piece

    def hang(name: str) -> None:
        say(f"{name} hangs")
        never.wait()

    @app.activity
    def in_thread() -> None:
        hang("in_thread")

    @app.activity(executor="process")
    def in_process() -> None:
        hang("in_process")

    @app.activity
    async def in_to_thread() -> None:
        await asyncio.to_thread(hang, "in_to_thread")

    @app.activity
    async def deaf() -> None:
        say("deaf hangs")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    @app.orchestrator
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield when_all([ctx.call_activity(a) for a in (in_thread, in_process, in_to_thread, deaf)])

    if __name__ == "__main__":
        app.run()
"""


def test_activities_that_hang_do_not_keep_a_process_from_ending(workshop: Workshop):
    workshop.write("hanging.py", HANGING)
    worker = workshop.start("hanging.py", DURABLEFLOW_DRAIN_TIMEOUT_SECONDS="0.1")
    worker.wait_for(READY)
    start = "from hanging import *; app.client().__enter__().schedule_new_orchestration(order)"
    assert workshop.run("-c", start)[0] == 0
    for kind in ("in_thread", "in_process", "in_to_thread", "deaf"):
        worker.wait_for(f"{kind} hangs")

    worker.send(signal.SIGTERM)

    assert worker.end() == 0, worker.output
    assert "Coroutines of the app do not end; they are left behind" in worker.output
    assert "Traceback" not in worker.output
