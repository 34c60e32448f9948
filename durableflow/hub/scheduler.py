"""Durable Task Scheduler: from a connection string to a task hub; nothing is opened yet."""

from __future__ import annotations

import os
import socket
from typing import Final
from uuid import uuid4

from durableflow._version import __version__
from durableflow.errors import TaskHubAddressError
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.channel import Channel, channel_options, is_loopback
from durableflow.hub.credentials import CREDENTIAL_KEYS, TokenSource, azure_credential
from durableflow.hub.guarded import GuardedTaskHub
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub
from durableflow.hub.profiles import SCHEDULER
from durableflow.hub.remote import RemoteTaskHub

TOKEN_SCOPE: Final = "https://durabletask.io/.default"  # noqa: S105 - it is no secret

# Source: the metadata that the scheduler's public SDKs send.
TASK_HUB: Final = "taskhub"
USER_AGENT: Final = "x-user-agent"  # gRPC keeps the plain name for itself
WORKER_ID: Final = "workerid"

_KEYS: Final = {"taskhub": "TaskHub", "authentication": "Authentication", **CREDENTIAL_KEYS}


def scheduler_hub(address: TaskHubAddress, options: HubOptions) -> TaskHub:
    """Make the task hub of a connection string.

    The hook ``configure_channel`` may bring a credential of its own, and another scope for a
    sovereign cloud.

    Raises:
        TaskHubAddressError: the connection string asks for something that there is not.
        SetupError: azure-identity is needed and not installed.
    """
    _check(address)
    target = address.target or ""
    channel = Channel(
        target=target,
        role=options.role,
        secure=address.secure,
        description=address.text,
        options=channel_options(target, options.max_message_bytes),
        metadata=[
            (TASK_HUB, address.options["taskhub"]),
            (USER_AGENT, f"durableflow/{__version__} ({options.role})"),
        ],
        token_scope=TOKEN_SCOPE,
        advice=SCHEDULER.advice,
    )
    if options.role == "worker":
        channel.metadata.append((WORKER_ID, f"{socket.gethostname()}:{os.getpid()}:{uuid4()}"))
    options.configure_channel(channel)
    return GuardedTaskHub(
        RemoteTaskHub.over(channel, options, _tokens(address, channel)), SCHEDULER
    )


def _check(address: TaskHubAddress) -> None:
    unknown = sorted(set(address.options) - _KEYS.keys())
    if unknown:
        raise TaskHubAddressError(
            f"'{address.text}' has a part {unknown[0]}= that means nothing here. There are "
            f"Endpoint, {', '.join(_KEYS.values())}."
        )
    if not address.options.get("taskhub"):
        raise TaskHubAddressError(
            f"'{address.text}' names no task hub: add TaskHub=, with the name of one that the "
            "scheduler has (the emulator has 'default')."
        )


def _tokens(address: TaskHubAddress, channel: Channel) -> TokenSource | None:
    own = channel.token_credential
    make = azure_credential(address.options) if own is None else lambda: own
    if make is None:
        return None
    if not channel.secure and not is_loopback(channel.target):
        raise TaskHubAddressError(
            f"'{address.text}' would send tokens unencrypted. Write Endpoint=https://..., or "
            "Authentication=None."
        )
    return TokenSource(make, channel.token_scope)
