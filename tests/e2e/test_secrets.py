"""Payloads may be secret, and so are tokens: no log shows them unless that is asked for."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from durableflow import (
    App,
    Client,
    ConversionError,
    Orchestration,
    OrchestrationContext,
    TaskFailedError,
    UsageError,
    when_all,
)
from tests.e2e.conftest import Workshop

SECONDS = 20
SECRET = "s3cret"

app = App("secrets", task_hub="sqlite://", max_payload_bytes=4096)


@app.activity
def keep(text: str) -> str:
    return text


@app.activity
def count(number: int) -> int:
    return number


@app.activity
def fail(text: str) -> None:
    raise ValueError(text)


@app.activity
def inflate(text: str) -> str:
    return text * 1000


@app.activity(executor="process")
def keep_elsewhere(text: str) -> str:
    return text


@app.orchestrator
def order(ctx: OrchestrationContext, text: str) -> Orchestration[list[str]]:
    ctx.set_custom_status(text)
    data = yield ctx.wait_for_external_event("go")
    kept = yield when_all([ctx.call_activity(a, input=data) for a in (keep, keep_elsewhere)])
    for function in (fail, inflate):
        try:
            yield ctx.call_activity(function, input=text)
        except TaskFailedError:
            kept.append("failed")
    try:
        yield ctx.call_activity("count", input=text)
    except TaskFailedError:
        kept.append("unfit")
    return kept


@app.orchestrator
def nothing(ctx: OrchestrationContext) -> None: ...


def run_order(client: Client) -> list[str]:
    instance_id = client.schedule_new_orchestration(order, input=f"{SECRET} input")
    client.raise_orchestration_event(instance_id, "go", data=f"{SECRET} data")
    state = client.wait_for_orchestration_completion(instance_id, timeout=SECONDS)
    return state.get_output()


def test_no_log_shows_a_payload_not_even_for_debugging(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    with app.running() as client:
        result = run_order(client)

    assert result == [f"{SECRET} data"] * 2 + ["failed", "failed", "unfit"]
    assert caplog.records
    assert SECRET not in caplog.text


def test_no_error_of_ours_shows_a_payload():
    wrong: Any = f"{SECRET} text"

    with app.client() as client:
        for call in (
            lambda: client.schedule_new_orchestration(nothing, input=wrong),
            lambda: client.schedule_new_orchestration(order, input=[wrong]),
        ):
            with pytest.raises((UsageError, ConversionError)) as caught:
                call()
            assert SECRET not in str(caught.value)


def test_those_who_ask_for_payloads_get_them(caplog: pytest.LogCaptureFixture):
    caplog.set_level(5, "durableflow.payloads")

    with app.running() as client:
        run_order(client)

    for text in (
        f"input of orchestrator 'order': \"{SECRET} input\"",
        f"data of event 'go': \"{SECRET} data\"",
        f"input of activity 'keep': \"{SECRET} data\"",
        f"result of activity 'keep': \"{SECRET} data\"",
        f"result of orchestrator 'order': [\"{SECRET} data\"",
    ):
        assert text in caplog.text


LOUD = """
    # loud.py
    import logging
    logging.basicConfig(level=logging.DEBUG)

    from durableflow import App, Orchestration, OrchestrationContext

    app = App("loud")

    @app.activity
    def hello(name: str) -> str:
        return f"Hello {name}!"

    @app.orchestrator
    def greet(ctx: OrchestrationContext, name: str) -> Orchestration[str]:
        return (yield ctx.call_activity(hello, input=name))

    if __name__ == "__main__":
        app.run()
"""
CLIENT = """
    # client.py
    from loud import app, greet

    with app.client() as client:
        print(client.run_orchestration(greet, input="s3cret", timeout=30))
"""


@pytest.mark.e2e
def test_no_log_shows_the_token_by_which_processes_join_each_other(workshop: Workshop):
    workshop.write("loud.py", LOUD)
    workshop.write("client.py", CLIENT)
    owner = workshop.start("loud.py")
    owner.wait_for("drain_timeout_seconds")
    joined = workshop.start("loud.py")
    joined.wait_for("drain_timeout_seconds")
    token = json.loads((workshop.folder / "loud.db.owner").read_text())["token"]

    status, text = workshop.run("client.py")

    assert status == 0, text
    assert text.strip().endswith("Hello s3cret!")
    assert len(token) > 20
    for output in (owner.output, joined.output, text):
        assert token not in output
    for output in (owner.output, joined.output):
        assert "DEBUG" in output
        assert SECRET not in output
