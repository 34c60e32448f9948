"""Payloads move at the same time, and beside other work."""

from __future__ import annotations

import threading

import pytest

from durableflow import App, Orchestration, OrchestrationContext, when_all
from durableflow_blob import BlobPayloads
from tests.blob.conftest import Fault, Storage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

TIMEOUT = 40
WIDTH = 4
LARGE = "large payload " * 500


def make_app(plugin: BlobPayloads) -> App:
    app = App("wide", plugins=[plugin])

    @app.activity
    def change(text: str) -> str:
        return f"changed {text}"

    @app.activity
    def small(text: str) -> str:
        return text

    @app.orchestrator
    def fan(ctx: OrchestrationContext) -> Orchestration[int]:
        tasks = [ctx.call_activity(change, input=f"{n}{LARGE}") for n in range(WIDTH)]
        texts = yield when_all(tasks)
        ctx.set_custom_status("waiting")
        yield ctx.wait_for_external_event("go")
        return sum(map(len, texts))

    @app.orchestrator
    def one(ctx: OrchestrationContext) -> Orchestration[int]:
        return len((yield ctx.call_activity(change, input=LARGE)))

    @app.orchestrator
    def other(ctx: OrchestrationContext) -> Orchestration[str]:
        return (yield ctx.call_activity(small, input="small"))

    return app


def at_once(method: str) -> Fault:
    """Let requests through only so many at a time."""
    together = threading.Barrier(WIDTH)

    def wait(asked: str, path: str) -> str | None:
        if asked == method and path.count("/") > 2:
            together.wait(TIMEOUT)
        return None

    return wait


def test_the_payloads_of_one_message_move_together(storage: Storage, task_hub: str):
    with storage.client() as container:
        container.create_container()
    storage.fault = at_once("PUT")
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("fan")
        while client.get_orchestration_state(instance_id).get_custom_status() is None:
            client.wait_for_orchestration_start(instance_id, timeout=TIMEOUT)

    # A worker that has nothing reads the results of the history.
    storage.fault = at_once("GET")
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        client.raise_orchestration_event(instance_id, "go")
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output() == WIDTH * (len(LARGE) + len("changed 0"))
    assert (storage.count("PUT"), storage.count("GET")) == (2 * WIDTH, WIDTH)


def test_other_work_goes_on_while_a_payload_is_stored(storage: Storage, task_hub: str):
    begun, released = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> str | None:
        if method == "PUT":
            begun.set()
            released.wait(TIMEOUT)
        return None

    storage.fault = hold
    with make_app(storage.plugin()).running(task_hub=task_hub) as client:
        held = client.schedule_new_orchestration("one")
        assert begun.wait(TIMEOUT)
        try:
            assert client.run_orchestration("other", timeout=TIMEOUT / 4) == "small"
        finally:
            released.set()
        state = client.wait_for_orchestration_completion(held, timeout=TIMEOUT)

    assert state.get_output() == len(LARGE) + len("changed ")
