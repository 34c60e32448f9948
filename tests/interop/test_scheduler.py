"""Durable Task Scheduler's connection strings, metadata and tokens, before a stand-in of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from durableflow import (
    App,
    CallError,
    Client,
    InstanceNotFoundError,
    OrchestrationContext,
    TaskHubUnavailableError,
    hookimpl,
)
from durableflow.hub.core import grpc
from tests.interop.conftest import Engines
from tests.interop.scheduler import Gate, StandIn, Token

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

DEADLINE_SECONDS = 30


class ClientAuthenticationError(Exception):
    """Named as the class of azure-core."""


@attrs.define(eq=False)
class Credential:
    """Asks the gate for tokens, as azure-identity asks Azure."""

    gate: Gate
    seconds: int = 3600
    role: str = "contributor"
    error: Exception | None = None
    scopes: list[str] = attrs.field(factory=list)

    def get_token(self, *scopes: str) -> Token:
        self.scopes += scopes
        if self.error is not None:
            raise self.error
        return self.gate.issue(self.seconds, self.role)


@attrs.define(eq=False)
class Cloud:
    """The plugin that makes an app trust the stand-in."""

    certificate: bytes
    credential: Credential

    @hookimpl
    def configure_channel(self, channel: Any) -> None:
        channel.credentials = grpc.ssl_channel_credentials(self.certificate)
        channel.token_credential = self.credential


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def stand_in(engines: Engines, gate: Gate) -> Iterator[StandIn]:
    stand_in = StandIn(engines["ours"].target, gate)
    stand_in.start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def credential(gate: Gate) -> Credential:
    return Credential(gate)


@pytest.fixture
def app(stand_in: StandIn, credential: Credential) -> App:
    app = App(
        "scheduled",
        task_hub=f"Endpoint=https://localhost:{stand_in.port};Authentication=None;TaskHub=orders",
        plugins=[Cloud(stand_in.certificate, credential)],
    )

    @app.activity
    def double(ctx: Any, number: int) -> int:
        return 2 * number

    @app.orchestrator
    def doubling(ctx: OrchestrationContext, number: int) -> Any:
        for _ in range(3):
            number = yield ctx.call_activity(double, input=number)
        event = yield ctx.wait_for_external_event("go")
        return [number, event]

    return app


def finish(client: Client, number: int) -> Any:
    instance = client.schedule_new_orchestration("doubling", input=number)
    client.raise_orchestration_event(instance, "go", data="now")
    return client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS).get_output()


def test_worker_and_client_bring_what_the_scheduler_demands(app: App, gate: Gate) -> None:
    with app.running() as client:
        assert finish(client, 1) == [8, "now"]

    assert gate.refused == []
    start, work = gate.seen["StartInstance"], gate.seen["GetWorkItems"]
    assert start["taskhub"] == work["taskhub"] == "orders"
    assert re.fullmatch(r"durableflow/[\d.]+\S* \(client\)", start["x-user-agent"])
    assert re.fullmatch(r"durableflow/[\d.]+\S* \(worker\)", work["x-user-agent"])
    assert re.fullmatch(r"[^:]+:\d+:[0-9a-f-]{36}", work["workerid"])
    assert gate.seen["CompleteActivityTask"]["workerid"] == work["workerid"]
    assert "workerid" not in start


def test_tokens_are_asked_for_once_and_for_the_scheduler(app: App, credential: Credential) -> None:
    with app.running() as client:
        finish(client, 1)
        finish(client, 2)

    assert credential.scopes == ["https://durabletask.io/.default"] * 2  # one for each role


def test_nothing_is_asked_for_before_the_first_call(app: App, credential: Credential) -> None:
    with app.client():
        assert credential.scopes == []


def test_a_token_that_is_turned_down_is_replaced_and_the_call_repeated(
    app: App, gate: Gate
) -> None:
    with app.running() as client:
        finish(client, 1)
        gate.revoke_all()

        assert finish(client, 2) == [16, "now"]

    assert set(gate.refused) == {"The token is missing, unknown or expired."}


def test_tokens_that_expire_all_the_time_do_no_harm(
    app: App, gate: Gate, credential: Credential
) -> None:
    credential.seconds = 2
    with app.running() as client:
        outputs = [finish(client, number) for number in range(20)]

    assert outputs == [[8 * number, "now"] for number in range(20)]


def test_a_broken_stream_is_opened_again(app: App, gate: Gate, stand_in: StandIn) -> None:
    with app.running() as client:
        for number in range(3):
            stand_in.wait_for_streams(1)
            instance = client.schedule_new_orchestration("doubling", input=number)
            client.wait_for_orchestration_start(instance, timeout=DEADLINE_SECONDS)
            stand_in.break_streams()
            client.raise_orchestration_event(instance, "go")
            state = client.wait_for_orchestration_completion(instance, timeout=DEADLINE_SECONDS)
            assert state.get_output() == [8 * number, None]


def test_an_identity_without_the_role_is_told_which_one_it_needs(
    app: App, credential: Credential
) -> None:
    credential.role = "worker"

    with app.client() as client, pytest.raises(CallError) as caught:
        client.schedule_new_orchestration("doubling", input=1)

    message = str(caught.value)
    assert "Durable Task Data Contributor" in message
    assert "IP allow-list" in message


def test_an_identity_that_cannot_log_in_is_told_so_at_once(
    app: App, credential: Credential
) -> None:
    credential.error = ClientAuthenticationError("run az login")

    with app.client() as client, pytest.raises(CallError, match="run az login") as caught:
        client.schedule_new_orchestration("doubling", input=1)

    assert "Check Authentication=" in str(caught.value)


def test_a_worker_waits_for_an_identity_that_cannot_log_in_yet(
    app: App, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    credential.error = ClientAuthenticationError("run az login")
    with app.running() as client:
        while "run az login" not in caplog.text:
            with pytest.raises(CallError):
                client.get_orchestration_state("nobody")
        credential.error = None

        assert finish(client, 1) == [8, "now"]


def test_another_task_hub_is_not_found(stand_in: StandIn, credential: Credential) -> None:
    app = App("elsewhere", plugins=[Cloud(stand_in.certificate, credential)])
    hub = f"Endpoint=https://localhost:{stand_in.port};Authentication=None;TaskHub=others"

    with (
        app.client(task_hub=hub) as client,
        pytest.raises(InstanceNotFoundError, match="There is no such task hub"),
    ):
        client.raise_orchestration_event("a", "go")


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(stand_in: StandIn) -> None:
    app = App("distrustful")
    hub = f"Endpoint=https://localhost:{stand_in.port};Authentication=None;TaskHub=orders"

    with (
        app.client(task_hub=hub) as client,
        pytest.raises(TaskHubUnavailableError, match=r"(?i)certificate|ssl"),
    ):
        client.get_orchestration_state("a")


def test_tokens_are_never_logged(app: App, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), app.running() as client:
        finish(client, 1)
        gate.revoke_all()
        finish(client, 2)

    assert gate.tokens
    assert not any(token in caplog.text for token in gate.tokens)
