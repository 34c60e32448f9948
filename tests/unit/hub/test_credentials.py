"""Tokens: fetched late, off the loop, once at a time, ahead of time; and the ways to get them."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import pytest

from durableflow.errors import CallError, SetupError, TaskHubAddressError
from durableflow.hub.credentials import (
    EARLIEST_SECONDS,
    LATEST_SECONDS,
    PAUSE_SECONDS,
    TokenSource,
    azure_credential,
)
from durableflow.protocol.status import Status

DEADLINE_SECONDS = 10.0
HOUR = 3600


class ClientAuthenticationError(Exception):
    """Named as the class of azure-core."""


@attrs.frozen
class Token:
    token: str
    expires_on: int


class Credential:
    """Gives out numbered tokens of an hour, when it may."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lifetime = HOUR
        self.scopes: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def get_token(self, *scopes: str) -> Token:
        self.scopes += scopes
        self.threads.add(threading.current_thread())
        self.asked.set()
        assert self.gate.wait(DEADLINE_SECONDS)
        if self.error is not None:
            raise self.error
        return Token(f"token {len(self.scopes)}", int(self.clock.now) + self.lifetime)


@attrs.define
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def credential(clock: Clock) -> AsyncIterator[Credential]:
    credential = Credential(clock)
    yield credential
    credential.gate.set()


@pytest.fixture
def source(credential: Credential, clock: Clock) -> TokenSource:
    return TokenSource(lambda: credential, "scope", clock=clock)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def test_making_a_source_asks_for_nothing(source: TokenSource, credential: Credential):
    assert credential.scopes == []

    assert await source.token() == "token 1"
    assert credential.scopes == ["scope"]


async def test_the_credential_itself_is_made_with_the_first_token(credential: Credential):
    made = []
    source = TokenSource(lambda: made.append(1) or credential, "scope", clock=credential.clock)
    assert not made

    await source.token()
    source.reject("token 1")
    await source.token()

    assert made == [1]


async def test_the_loop_goes_on_while_a_token_is_fetched(
    source: TokenSource, credential: Credential
):
    credential.gate.clear()
    call = asyncio.create_task(source.token())
    await until(credential.asked.is_set)

    credential.gate.set()

    assert await call == "token 1"
    assert threading.main_thread() not in credential.threads


async def test_a_token_is_used_until_it_is_time_to_refresh_it(
    source: TokenSource, credential: Credential, clock: Clock
):
    await source.token()
    clock.now += HOUR - EARLIEST_SECONDS - 1

    assert await source.token() == "token 1"
    assert len(credential.scopes) == 1


async def test_calls_go_on_with_the_old_token_while_the_new_one_is_fetched(
    source: TokenSource, credential: Credential, clock: Clock
):
    await source.token()
    clock.now += HOUR - LATEST_SECONDS + 1
    credential.gate.clear()

    assert [await source.token() for _ in range(5)] == ["token 1"] * 5

    credential.gate.set()
    await until(lambda: len(credential.scopes) == 2)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await source.token() != "token 2":
            await asyncio.sleep(0.001)
    assert len(credential.scopes) == 2


async def test_many_calls_ask_for_one_token(source: TokenSource, credential: Credential):
    credential.gate.clear()
    calls = [asyncio.create_task(source.token()) for _ in range(20)]
    await until(credential.asked.is_set)
    credential.gate.set()

    assert set(await asyncio.gather(*calls)) == {"token 1"}
    assert len(credential.scopes) == 1


async def test_a_caller_that_gives_up_takes_the_token_from_nobody(
    source: TokenSource, credential: Credential
):
    credential.gate.clear()
    impatient = asyncio.create_task(source.token())
    patient = asyncio.create_task(source.token())
    await until(credential.asked.is_set)

    impatient.cancel()
    credential.gate.set()

    assert await patient == "token 1"


async def test_a_spent_token_is_not_sent(source: TokenSource, credential: Credential, clock: Clock):
    await source.token()
    clock.now += HOUR - 1

    assert await source.token() == "token 2"


async def test_a_short_lived_token_is_refreshed_at_half_of_its_life(
    source: TokenSource, credential: Credential, clock: Clock
):
    credential.lifetime = 60
    await source.token()
    clock.now += 29
    await source.token()
    assert len(credential.scopes) == 1

    clock.now += 2
    assert await source.token() == "token 1"

    await until(lambda: len(credential.scopes) == 2)


async def test_a_refresh_that_fails_is_told_and_tried_again_later(
    source: TokenSource, credential: Credential, clock: Clock, caplog: pytest.LogCaptureFixture
):
    await source.token()
    clock.now += HOUR - LATEST_SECONDS + 1
    credential.error = OSError("no network")

    with caplog.at_level(logging.WARNING):
        assert await source.token() == "token 1"
        await until(lambda: "no network" in caplog.text)
    assert await source.token() == "token 1"
    assert len(credential.scopes) == 2

    credential.error = None
    clock.now += PAUSE_SECONDS
    await source.token()
    await until(lambda: len(credential.scopes) == 3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClientAuthenticationError("log in first"), Status.UNAUTHENTICATED),
        (OSError("no network"), Status.UNAVAILABLE),
    ],
)
async def test_without_a_token_the_call_fails_with_the_reason(
    source: TokenSource, credential: Credential, error: Exception, status: Status
):
    credential.error = error

    with pytest.raises(CallError, match=str(error)) as caught:
        await source.token()

    assert caught.value.status is status


async def test_a_rejected_token_is_replaced(source: TokenSource):
    first = await source.token()

    assert source.reject(first)

    assert await source.token() == "token 2"


async def test_a_token_that_was_replaced_already_may_be_rejected_late(
    source: TokenSource, credential: Credential
):
    first = await source.token()
    source.reject(first)
    await source.token()

    assert source.reject(first)
    assert await source.token() == "token 2"
    assert len(credential.scopes) == 2


# The ways to authenticate


@pytest.mark.parametrize("name", ["None", "none", "NONE"])
def test_no_authentication_needs_no_credential(name: str):
    assert azure_credential({"authentication": name}) is None


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"authentication": "DefaultAzure"}, "DefaultAzureCredential"),
        ({"authentication": "defaultazure", "clientid": "c"}, "DefaultAzureCredential"),
        ({"authentication": "ManagedIdentity"}, "ManagedIdentityCredential"),
        ({"authentication": "MANAGEDIDENTITY", "clientid": "c"}, "ManagedIdentityCredential"),
        (
            {
                "authentication": "WorkloadIdentity",
                "clientid": "c",
                "tenantid": "t",
                "tokenfilepath": "/var/token",
                "additionallyallowedtenants": "a, b,",
            },
            "WorkloadIdentityCredential",
        ),
        ({"authentication": "Environment"}, "EnvironmentCredential"),
        ({"authentication": "AzureCli", "tenantid": "t"}, "AzureCliCredential"),
        ({"authentication": "AzurePowerShell"}, "AzurePowerShellCredential"),
        ({"authentication": "VisualStudioCode"}, "VisualStudioCodeCredential"),
        ({"authentication": "InteractiveBrowser"}, "InteractiveBrowserCredential"),
    ],
)
def test_a_way_to_authenticate_makes_its_credential(options: dict[str, str], kind: str):
    make = azure_credential(options)

    assert make is not None
    assert type(make()).__name__ == kind


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "no Authentication="),
        ({"authentication": "Key"}, "Authentication=Key"),
        ({"authentication": "None", "clientid": "c"}, "no use of ClientID"),
        ({"authentication": "Environment", "tenantid": "t"}, "no use of TenantId"),
        (
            {"authentication": "AzureCli", "clientid": "c", "tokenfilepath": "f"},
            "no use of ClientID and TokenFilePath",
        ),
    ],
)
def test_a_way_that_there_is_not_is_told_what_there_is(options: dict[str, str], advice: str):
    with pytest.raises(TaskHubAddressError, match=advice):
        azure_credential(options)


def test_without_azure_identity_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    def find(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)

    with pytest.raises(SetupError, match=r"pip install 'durableflow\[azure\]'"):
        azure_credential({"authentication": "DefaultAzure"})


def test_preparing_a_credential_loads_nothing_of_azure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "azure.identity", raising=False)

    azure_credential({"authentication": "DefaultAzure"})

    assert "azure.identity" not in sys.modules
