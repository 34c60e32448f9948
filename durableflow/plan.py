"""What a worker or a client is made from: all of it decided, and nothing opened yet."""

from __future__ import annotations

from typing import Literal

import attrs

from durableflow.converter import Converter
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.loop import HubLoop
from durableflow.hub.options import HubOptions
from durableflow.hub.port import TaskHub, TaskHubFactory
from durableflow.plugins import PluginSet
from durableflow.registry import Registry
from durableflow.settings import Settings


@attrs.frozen(kw_only=True, eq=False)
class Plan:
    """Everything that one run, or one client, of an app consists of."""

    app: object
    app_name: str
    registry: Registry
    plugins: PluginSet
    converter: Converter
    settings: Settings
    address: TaskHubAddress
    factory: TaskHubFactory

    @property
    def is_private(self) -> bool:
        """Whether nobody but this app can reach the task hub, since it is in memory."""
        return self.address.scheme == "sqlite" and self.address.path is None


class Connection:
    """A task hub with a hold on the hub loop that it lives on."""

    def __init__(self, plan: Plan, role: Literal["worker", "client"]) -> None:
        settings = plan.settings
        options = HubOptions(
            role=role,
            max_message_bytes=settings.max_message_bytes,
            synchronous=settings.synchronous,
            share_key=plan.app,
            configure_channel=plan.plugins.configure_channel,
        )
        self.hub: TaskHub = plan.factory(plan.address, options)
        self.loop = HubLoop.acquire()

    def close(self) -> None:
        """Close the hub and let go of the loop.  Blocks; not for the hub loop itself."""
        try:
            self.loop.run(self.hub.close())
        finally:
            self.loop.release()
