"""``ctx.patched`` on every engine: what is recorded there replays as it was."""

from __future__ import annotations

import queue

import pytest

from durableflow import App, Orchestration, OrchestrationContext
from tests.interop.conftest import Engines
from tests.interop.engines import Served

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

SECONDS = 30


@pytest.fixture(params=["ours", "durabletask in memory", "durabletask-go"])
def engine(request: pytest.FixtureRequest, engines: Engines) -> Served:
    return engines[request.param]


class Deployment:
    """A worker with the code before or after a change.

    Attributes:
        waiting: The ids of instances that have come to their wait.
    """

    def __init__(self, engine: Served, *, is_patched: bool) -> None:
        self.waiting: queue.Queue[str] = queue.Queue()
        self.app = app = App("patched", task_hub=engine.address, plugins=engine.plugins)

        @app.activity
        def note(text: str) -> str:
            return text

        @app.orchestrator
        def patched_tour(ctx: OrchestrationContext) -> Orchestration[list[str]]:
            notes = [(yield ctx.call_activity(note, input="first"))]
            if is_patched and ctx.patched("second-note"):
                notes.append((yield ctx.call_activity(note, input="second")))
            self.waiting.put(ctx.instance_id)
            notes.append((yield ctx.wait_for_external_event("go")))
            return notes

    def see_waiting(self, instance_id: str) -> None:
        """Return when an instance has come to its wait."""
        while self.waiting.get(timeout=SECONDS) != instance_id:
            pass


def test_an_instance_keeps_its_answer_in_whatever_process_it_goes_on(engine: Served) -> None:
    started = []
    for is_patched in (False, True):
        deployment = Deployment(engine, is_patched=is_patched)
        with deployment.app.running() as client:
            started.append(client.schedule_new_orchestration("patched_tour"))
            deployment.see_waiting(started[-1])
        engine.forget_workers()

    with Deployment(engine, is_patched=True).app.running() as client:
        outputs = []
        for instance_id in started:
            client.raise_orchestration_event(instance_id, "go", data="last")
            state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
            outputs.append(state.get_output())

    assert outputs == [["first", "last"], ["first", "second", "last"]]
