"""What a worker or a client is made from: all of it decided, and nothing opened yet."""

from __future__ import annotations

from typing import Final, Literal

import attrs

from durableflow.converter import Converter
from durableflow.hub.address import TaskHubAddress
from durableflow.hub.loop import HubLoop
from durableflow.hub.options import HubOptions
from durableflow.hub.payloads import PayloadHub
from durableflow.hub.port import TaskHubFactory
from durableflow.plugins import PluginSet
from durableflow.protocol.payload_codec import PayloadCodec
from durableflow.registry import Registry
from durableflow.settings import Settings

_ANY: Final = 2**62


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
    codecs: tuple[PayloadCodec, ...] = attrs.field(init=False)

    @codecs.default
    def _codecs(self) -> tuple[PayloadCodec, ...]:
        return self.plugins.payload_codecs(self.app)

    @property
    def settings_inside(self) -> Settings:
        """The settings for what is on this side of the payload codecs.

        There is nothing too large there, since codecs may make it small; what they make is
        measured behind them.
        """
        if not self.codecs:
            return self.settings
        return attrs.evolve(self.settings, max_payload_bytes=_ANY, max_message_bytes=_ANY)

    @property
    def is_private(self) -> bool:
        """Whether nobody but this app can reach the task hub, since it is in memory."""
        return self.address.scheme == "sqlite" and self.address.path is None


class Connection:
    """A task hub with a hold on the hub loop that it lives on.

    Attributes:
        hub: What worker and client call.
        bare_hub: The same without payload codecs.
    """

    def __init__(self, plan: Plan, role: Literal["worker", "client"]) -> None:
        self._plan = plan
        settings = plan.settings
        options = HubOptions(
            role=role,
            max_message_bytes=settings.max_message_bytes,
            synchronous=settings.synchronous,
            share_key=plan.app,
            configure_channel=plan.plugins.configure_channel,
        )
        self.hub = self.bare_hub = plan.factory(plan.address, options)
        if plan.codecs:
            self.hub = PayloadHub(
                self.bare_hub,
                plan.codecs,
                max_payload_bytes=settings.max_payload_bytes,
                max_message_bytes=settings.max_message_bytes,
            )
        self.loop = HubLoop.acquire()
        plan.plugins.app_opened(plan.app)

    def close(self) -> None:
        """Close the hub and let go of the loop.  Blocks; not for the hub loop itself."""
        try:
            self.loop.run(self.hub.close())
        finally:
            self.loop.release()
            self._plan.plugins.app_closed(self._plan.app)
