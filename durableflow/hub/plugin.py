"""Brings the schemes of engines that others run."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from durableflow.errors import TaskHubAddressError
from durableflow.hookspecs import hookimpl
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub, TaskHubFactory
from durableflow.hub.remote import RemoteTaskHub


@frozen
class RemotePlugin:
    """Brings the schemes ``grpc`` and ``grpcs``: an engine that somebody serves."""

    @hookimpl
    def register_task_hubs(self) -> Mapping[str, TaskHubFactory]:
        """See ``hookspecs``."""
        return {"grpc": _make, "grpcs": _make}


def _make(address: TaskHubAddress, options: HubOptions) -> TaskHub:
    if address.target is None:
        raise TaskHubAddressError(f"'{address.text}' names no host and port.")
    return RemoteTaskHub(address.target, secure=address.scheme == "grpcs", options=options)
