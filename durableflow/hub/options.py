"""What a task hub's factory needs to know beside the address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import field, frozen, validators

from durableflow.hub.channel import Channel

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@frozen(kw_only=True)
class HubOptions:
    """How one participant wants to use a task hub.

    Attributes:
        role: A worker takes a file over from a process that has none; a client does not.
        max_message_bytes: The largest message accepted from the other side.
        synchronous: ``full`` survives a loss of power; ``normal`` may then lose the last moments.
            Only for an embedded engine.
        share_key: Those who name the same object share one in-memory hub; None shares it with
            nobody.  Only for ``sqlite://``.
        configure_channel: Changes a channel to an engine that others run, before it is made.
    """

    role: Literal["worker", "client"]
    max_message_bytes: int = field(default=DEFAULT_MAX_MESSAGE_BYTES, validator=validators.gt(0))
    synchronous: str = field(default="full", validator=validators.in_(("full", "normal")))
    share_key: object | None = None
    configure_channel: Callable[[Channel], None] = lambda channel: None
