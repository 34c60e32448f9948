"""Payloads pass through codecs on their way out, and back on their way in."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from durableflow import (
    ActivityContext,
    App,
    OrchestrationContext,
    OrchestrationFailedError,
    PayloadField,
    PayloadLostError,
    PayloadTooLargeError,
    PayloadUnavailableError,
    PluginError,
    TaskFailedError,
    hookimpl,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "directory_payloads.py"
TIMEOUT = 20


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("directory_payloads", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DirectoryPayloads: Any = example().DirectoryPayloads


@attrs.define(eq=False)
class Shift:
    """A codec that adds a letter to the front, and counts."""

    letter: str
    encoded: list[str] = attrs.field(factory=list)
    decoded: list[str] = attrs.field(factory=list)

    @hookimpl
    def register_payload_codecs(self) -> list[Shift]:
        return [self]

    def encodes(self, field: PayloadField, text: str) -> bool:
        return True

    def encode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        self.encoded.append(f"{field.message}.{field.name} {text}")
        return self.letter + text

    def decodes(self, field: PayloadField, text: str) -> bool:
        return text.startswith(self.letter)

    def decode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        self.decoded.append(f"{field.message}.{field.name} {text}")
        return text.removeprefix(self.letter)


@attrs.define(eq=False)
class Trouble(Shift):
    """One that raises what it is told to."""

    on_encode: Exception | None = None
    on_decode: Exception | None = None
    where: str = "ActivityRequest"
    met: threading.Event = attrs.field(factory=threading.Event)

    def encode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        if self.on_encode is not None and field.message.startswith("Activity"):
            self.met.set()
            raise self.on_encode
        return self.letter + text

    def decode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        if self.on_decode is not None and field.message == self.where:
            self.met.set()
            raise self.on_decode
        return text.removeprefix(self.letter)


def make_app(*plugins: object, **settings: Any) -> App:
    app = App("payloads", plugins=plugins, **settings)

    @app.activity
    def repeat(ctx: ActivityContext, text: str) -> str:
        return text * 2

    @app.orchestrator
    def twice(ctx: OrchestrationContext, text: str) -> Any:
        ctx.set_custom_status({"text": text})
        doubled = yield ctx.call_activity(repeat, input=text)
        more = yield ctx.wait_for_external_event("more")
        return doubled + more

    @app.orchestrator
    def parent(ctx: OrchestrationContext, text: str) -> Any:
        return (yield ctx.call_sub_orchestrator("child", input=text))

    @app.orchestrator
    def child(ctx: OrchestrationContext, text: str) -> Any:
        return (yield ctx.call_activity(repeat, input=text))

    @app.orchestrator
    def careful(ctx: OrchestrationContext, text: str) -> Any:
        try:
            yield ctx.call_activity(repeat, input=text)
        except TaskFailedError as failure:
            return failure.details.message
        return "nothing happened"

    return app


@pytest.fixture(params=["in process", "over gRPC"])
def task_hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A task hub; over gRPC it belongs to another app, which serves nothing."""
    address = f"sqlite:///{tmp_path / 'hub.db'}"
    if request.param == "in process":
        yield address
        return
    with App("owner", task_hub=address).client() as owner:
        owner.get_orchestration_state("nobody")
        yield address


def test_hook_register_payload_codecs_sees_every_payload_of_worker_and_client(task_hub: str):
    codec = Shift("~")
    with make_app(codec).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("twice", input="ab", instance_id="i")
        client.raise_orchestration_event(instance_id, "more", data="!")
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output() == "abab!"
    assert state.get_input() == "ab"
    assert state.get_custom_status() == {"text": "ab"}
    assert {line.split()[0] for line in codec.encoded} == {
        "CreateInstanceRequest.input",
        "RaiseEventRequest.input",
        "OrchestratorResponse.customStatus",
        "ScheduleTaskAction.input",
        "ActivityResponse.result",
        "CompleteOrchestrationAction.result",
    }


def test_the_task_hub_holds_what_codecs_made(task_hub: str):
    with make_app(Shift("~")).running(task_hub=task_hub) as client:
        client.run_orchestration("child", input="ab", instance_id="i", timeout=TIMEOUT)
    with make_app().client(task_hub=task_hub) as plain:
        state = plain.get_orchestration_state("i")

    assert state is not None
    assert state.serialized_input == '~"ab"'
    assert state.serialized_output == '~"abab"'


def test_codecs_stack_in_the_order_of_their_plugins(task_hub: str):
    inner, outer = Shift("1"), Shift("2")
    with make_app(inner, outer).running(task_hub=task_hub) as client:
        output = client.run_orchestration("child", input="ab", instance_id="i", timeout=TIMEOUT)
    with make_app().client(task_hub=task_hub) as plain:
        stored = plain.get_orchestration_state("i")

    assert output == "abab"
    assert stored is not None
    assert stored.serialized_output == '21"abab"'


def test_what_is_large_is_kept_in_a_folder(task_hub: str, tmp_path: Path):
    folder = tmp_path / "payloads"
    folder.mkdir()
    text = "x" * 1_000_000
    app = make_app(DirectoryPayloads(folder), max_payload_bytes=2000)
    with app.running(task_hub=task_hub) as client:
        output = client.run_orchestration("parent", input=text, instance_id="i", timeout=TIMEOUT)
        states = client.get_all_orchestration_states()
        history = client.get_orchestration_history("i")

    assert output == text * 2
    assert len(list(folder.iterdir())) == 2
    assert len(states) == 2
    assert history[1].attributes["input"] == f'"{text}"'


def test_what_is_too_large_even_when_encoded_fails_the_activity(task_hub: str):
    app = make_app(Shift("~"), max_payload_bytes=1024)
    with app.running(task_hub=task_hub) as client:
        output = client.run_orchestration("careful", input="x" * 900, timeout=TIMEOUT)
        with pytest.raises(PayloadTooLargeError, match="input of an orchestration"):
            client.run_orchestration("careful", input="x" * 1100)

    assert "1,803 bytes" in output


def test_a_payload_that_is_lost_fails_its_activity(task_hub: str):
    codec = Trouble("~", on_decode=PayloadLostError("It is gone: ~1", reference="~1"))
    with make_app(codec).running(task_hub=task_hub) as client:
        output = client.run_orchestration("careful", input="ab", timeout=TIMEOUT)

    assert "It is gone: ~1" in output


def test_a_lost_result_fails_the_task_that_it_is_of(task_hub: str):
    lost = PayloadLostError("It is gone: ~1", reference="~1")
    codec = Trouble("~", on_decode=lost, where="TaskCompletedEvent")
    with make_app(codec).running(task_hub=task_hub) as client:
        output = client.run_orchestration("careful", input="ab", timeout=TIMEOUT)

    assert "It is gone: ~1" in output


def test_a_lost_input_fails_the_orchestration(task_hub: str):
    lost = PayloadLostError("It is gone: ~1", reference="~1")
    codec = Trouble("~", on_decode=lost, where="ExecutionStartedEvent")
    with (
        make_app(codec).running(task_hub=task_hub) as client,
        pytest.raises(OrchestrationFailedError, match="PayloadLostError: It is gone: ~1"),
    ):
        client.run_orchestration("careful", input="ab", timeout=TIMEOUT)


@pytest.mark.parametrize(
    "where", ["ActivityRequest", "TaskCompletedEvent", "ExecutionStartedEvent"]
)
def test_a_payload_that_is_unavailable_delays_the_work_and_fails_nothing(task_hub: str, where: str):
    codec = Trouble("~", on_decode=PayloadUnavailableError("Nobody answers."), where=where)
    with make_app(codec).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("child", input="ab")
        assert codec.met.wait(TIMEOUT)
        codec.on_decode = None
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output() == "abab"


def test_an_instance_says_what_it_waits_for(task_hub: str):
    codec = Trouble(
        "~", on_decode=PayloadUnavailableError("Nobody answers."), where="ExecutionStartedEvent"
    )
    with make_app(codec).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("child", input="ab")
        assert codec.met.wait(TIMEOUT)
        parked = None
        while parked is None:
            state = client.get_orchestration_state(instance_id)
            assert state is not None
            parked = state.parked
        codec.on_decode = None

    assert "Nobody answers." in parked.message


def test_a_result_that_cannot_be_stored_waits(task_hub: str):
    codec = Trouble("~", on_encode=PayloadUnavailableError("Nobody answers."))
    with make_app(codec).running(task_hub=task_hub) as client:
        instance_id = client.schedule_new_orchestration("child", input="ab")
        assert codec.met.wait(TIMEOUT)
        codec.on_encode = None
        state = client.wait_for_orchestration_completion(instance_id, timeout=TIMEOUT)

    assert state.get_output() == "abab"


def test_a_client_hears_that_a_payload_is_unavailable(task_hub: str):
    codec = Trouble(
        "~", on_decode=PayloadUnavailableError("Nobody answers."), where="OrchestrationState"
    )
    with (
        make_app(codec).running(task_hub=task_hub) as client,
        pytest.raises(PayloadUnavailableError, match=r"Nobody answers\."),
    ):
        client.run_orchestration("child", input="ab", timeout=TIMEOUT)


def test_what_is_no_codec_is_refused():
    class Wrong:
        @hookimpl
        def register_payload_codecs(self) -> list[str]:
            return ["gzip"]

    with pytest.raises(PluginError, match="PayloadCodec"):
        make_app(Wrong(), task_hub="sqlite://").client()
