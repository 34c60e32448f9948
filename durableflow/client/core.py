"""``ClientCore``: all that a client works with, put together by the app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from durableflow.converter import Converter
from durableflow.hub.loop import HubLoop
from durableflow.hub.port import TaskHub
from durableflow.plugins import PluginSet
from durableflow.protocol.sizes import DEFAULT_MAX_PAYLOAD_BYTES, check_payload
from durableflow.registry import Registry


@attrs.define(kw_only=True, eq=False)
class ClientCore:
    """What one client works with, and how it starts and ends.

    Attributes:
        hub: Where the calls go.  It lives on ``loop``.
        loop: The hub loop; the client holds it until ``on_close``.
        registry: The functions that may be referred to.
        converter: For inputs and results.
        plugins: Asked for the version of a start.
        max_payload_bytes: How large an input, or anything else that is sent, may be.
        default_version: For starts by name without a version.
        hub_is_private: Whether nothing but this app can serve the hub (one in memory), so that a
            name that the app does not know is certainly a mistake.
        serves_here: Says whether a worker of this app runs in this process on this hub.
        app_loop: Returns the loop of the app's ``async def`` activities; None if it has none now.
        on_open: Runs on the hub loop before the first call; None once the hub is open.
        on_close: Called once, on the closing thread; may block.
        unknown_names: The names asked for that this app does not know, so that it warns once.
    """

    hub: TaskHub
    loop: HubLoop
    registry: Registry
    converter: Converter
    plugins: PluginSet
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    default_version: str | None = None
    hub_is_private: bool = False
    serves_here: Callable[[], bool] = lambda: False
    app_loop: Callable[[], asyncio.AbstractEventLoop | None] = lambda: None
    on_open: Callable[[], Coroutine[Any, Any, None]] | None = None
    on_close: Callable[[], None] = lambda: None
    unknown_names: set[str] = attrs.field(factory=set, init=False)
    _opening: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def dumps(self, value: Any, declared: Any = Any, *, where: str) -> str | None:
        """Write a payload that is to be sent.

        Args:
            where: What it is, for errors.

        Raises:
            ConversionError: it does not fit, or cannot travel as JSON.
            PayloadTooLargeError: it is larger than it may be.
        """
        text = self.converter.dumps(value, declared, where=where)
        check_payload(text, self.max_payload_bytes, place=where)
        return text

    async def open(self) -> None:
        """Open the hub if that is this client's business; once, whoever asks first.

        Raises:
            TaskHubUnavailableError: nobody answers.
            StorageError: the file cannot be used.
        """
        if self.on_open is None:
            return
        if self._opening is None:
            self._opening = asyncio.create_task(self.on_open())
        try:
            await asyncio.shield(self._opening)
        except BaseException:
            if self._opening is not None and self._opening.done():
                self._opening = None  # the next call tries again
            raise
        self.on_open = None
