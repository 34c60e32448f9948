"""The scheme ``sqlite``: a task hub in a file, wherever its owner is, or in memory."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from durableflow.engine.joining import FileTaskHub
from durableflow.hookspecs import hookimpl
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub, TaskHubFactory


@frozen
class EnginePlugin:
    """Brings the embedded engine."""

    @hookimpl
    def register_task_hubs(self) -> Mapping[str, TaskHubFactory]:
        """See ``hookspecs``."""
        return {"sqlite": _make}


def _make(address: TaskHubAddress, options: HubOptions) -> TaskHub:
    return FileTaskHub(address.path, options)
