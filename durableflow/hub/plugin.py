"""Brings the schemes of engines that others run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from durableflow.errors import TaskHubAddressError
from durableflow.hookspecs import hookimpl
from durableflow.hub.address import SCHEDULER, TaskHubAddress
from durableflow.hub.channel import Channel, channel_options
from durableflow.hub.guarded import GuardedTaskHub
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub, TaskHubFactory
from durableflow.hub.probing import dapr_refused, is_dapr_of
from durableflow.hub.profiles import DAPR, SPEAKERS, EngineProfile
from durableflow.hub.remote import RemoteTaskHub
from durableflow.hub.scheduler import scheduler_hub
from durableflow.hub.versions_in_names import VersionsInNames

IN_NAME: Final = "in-name"


@frozen
class RemotePlugin:
    """Brings ``grpc`` and ``grpcs``, and the connection strings of the Durable Task Scheduler."""

    @hookimpl
    def register_task_hubs(self) -> Mapping[str, TaskHubFactory]:
        """See ``hookspecs``."""
        return {"grpc": _make, "grpcs": _make, SCHEDULER: scheduler_hub}


def _make(address: TaskHubAddress, options: HubOptions) -> TaskHub:
    if address.target is None:
        raise TaskHubAddressError(f"'{address.text}' names no host and port.")
    engine = address.options.get("engine")
    if engine == DAPR.key or is_dapr_of(os.environ, address.target):
        raise dapr_refused(address.text)
    channel = Channel(
        target=address.target,
        role=options.role,
        secure=address.secure,
        options=channel_options(address.target, options.max_message_bytes),
    )
    options.configure_channel(channel)
    hub = GuardedTaskHub(RemoteTaskHub.over(channel, options), _profile(address, engine))
    return VersionsInNames(hub) if _in_names(address) else hub


def _in_names(address: TaskHubAddress) -> bool:
    versions = address.options.get("versions")
    if versions not in (None, IN_NAME):
        raise TaskHubAddressError(
            f"'{address.text}': versions={versions} means nothing. versions={IN_NAME} lets the "
            "versions of instances travel in names, for an engine that drops them."
        )
    return versions is not None


def _profile(address: TaskHubAddress, engine: str | None) -> EngineProfile | None:
    if engine is None:
        return None
    profile = SPEAKERS.get(engine)
    if profile is None:
        raise TaskHubAddressError(
            f"'{address.text}': there is no engine={engine}; it is one of {', '.join(SPEAKERS)}. "
            "Without it the engine is found out."
        )
    return profile
