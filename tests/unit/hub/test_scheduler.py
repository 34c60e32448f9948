"""Durable Task Scheduler: what its connection strings and channels are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from durableflow.errors import TaskHubAddressError
from durableflow.hub.address import parse_task_hub_address
from durableflow.hub.channel import Channel
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub
from durableflow.hub.scheduler import scheduler_hub

EMULATOR = "Endpoint=http://localhost:8080;Authentication=None;TaskHub=default"


class Credential:
    def get_token(self, *scopes: str) -> Any:
        raise AssertionError("nobody may ask for a token yet")


def hub_of(
    text: str, *, role: Literal["worker", "client"] = "client", configure: Any = lambda _: None
) -> TaskHub:
    address = parse_task_hub_address(text, root=Path("/"))
    return scheduler_hub(address, HubOptions(role=role, configure_channel=configure))


def channel_of(text: str, role: Literal["worker", "client"] = "client") -> Channel:
    seen: list[Channel] = []
    hub_of(text, role=role, configure=seen.append)
    return seen[0]


def test_the_emulator_is_reached_in_the_clear() -> None:
    channel = channel_of(EMULATOR)

    assert (channel.target, channel.secure) == ("localhost:8080", False)
    assert dict(channel.metadata)["taskhub"] == "default"


def test_a_scheduler_is_reached_by_tls() -> None:
    channel = channel_of("Endpoint=hub.durabletask.io;Authentication=DefaultAzure;TaskHub=orders")

    assert (channel.target, channel.secure) == ("hub.durabletask.io:443", True)
    assert channel.token_scope == "https://durabletask.io/.default"


def test_people_see_the_connection_string_without_its_secrets() -> None:
    text = "Endpoint=https://hub.durabletask.io;Authentication=ManagedIdentity;TaskHub=orders"

    assert hub_of(f"{text};ClientID=s3cret").description == text


def test_workers_and_clients_say_what_they_are() -> None:
    worker, client = (dict(channel_of(EMULATOR, role).metadata) for role in ("worker", "client"))

    assert worker["x-user-agent"].endswith("(worker)")
    assert client["x-user-agent"].endswith("(client)")
    assert "workerid" in worker
    assert "workerid" not in client


def test_each_worker_has_an_id_of_its_own() -> None:
    one, other = (dict(channel_of(EMULATOR, "worker").metadata) for _ in range(2))

    assert one["workerid"] != other["workerid"]


async def test_making_and_opening_a_hub_asks_for_no_token() -> None:
    def configure(channel: Channel) -> None:
        channel.token_credential = Credential()

    hub = hub_of(EMULATOR, configure=configure)
    await hub.open()
    await hub.close()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Endpoint=https://hub;Authentication=None", "add TaskHub="),
        ("Endpoint=https://hub;TaskHub=t", "no Authentication="),
        ("Endpoint=https://hub;Authentication=Key;TaskHub=t", "Authentication=Key"),
        ("Endpoint=https://hub;Authentication=None;TaskHub=t;AccessKey=s3cret", "accesskey="),
        ("Endpoint=http://hub;Authentication=DefaultAzure;TaskHub=t", "unencrypted"),
    ],
)
def test_a_mistake_is_told_what_to_write_and_no_secret(text: str, advice: str) -> None:
    with pytest.raises(TaskHubAddressError) as caught:
        hub_of(text)

    assert advice in str(caught.value)
    assert "s3cret" not in str(caught.value)
