"""A gRPC channel to an engine that others run, as it is to be made: ``Channel``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

from attrs import define, field

from durableflow.hub.core import grpc
from durableflow.protocol.status import Status

# Error texts travel as metadata, percent-encoded; grpc's own bound of 8 KiB loses long ones.
METADATA_BYTES: Final = 64 * 1024

# grpc's name for the largest message that is taken, and how large that is if nobody says so.
_RECEIVE: Final = "grpc.max_receive_message_length"
_RECEIVE_BYTES: Final = 4 * 1024 * 1024


class AccessToken(Protocol):
    """What a credential gives; ``azure.core.credentials.AccessToken`` is one."""

    @property
    def token(self) -> str:
        """The text that is sent."""

    @property
    def expires_on(self) -> int:
        """When it ends, in seconds since 1970."""


class TokenCredential(Protocol):
    """Where tokens come from; the credentials of azure-identity are such."""

    def get_token(self, *scopes: str) -> AccessToken:
        """Return a token; may block, and is called on a thread of its own."""


@define(kw_only=True, eq=False)
class Channel:
    """A channel that is about to be made; the hook ``configure_channel`` may change it.

    Attributes:
        target: ``host:port``.
        role: Who will use it, a ``worker`` or a ``client``.
        secure: Whether it speaks TLS.
        description: Where it leads to, fit for people.
        options: gRPC's channel arguments, by name.
        metadata: Sent with every call.
        credentials: For TLS; None trusts the machine's certificate authorities.
        interceptors: gRPC's own, for ``grpc.aio``; the first is the outermost.
        token_credential: Where the ``authorization`` of each call comes from; None sends none,
            unless the task-hub address names a way to authenticate.
        token_scope: What the token is asked for.
        advice: What to do about a status, for its error.
    """

    target: str
    role: Literal["worker", "client"]
    secure: bool = False
    description: str = ""
    options: dict[str, int | str] = field(factory=dict)
    metadata: list[tuple[str, str]] = field(factory=list, repr=False)
    credentials: grpc.ChannelCredentials | None = None
    interceptors: list[Any] = field(factory=list)
    token_credential: TokenCredential | None = None
    token_scope: str = ""
    advice: Mapping[Status, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.description:
            self.description = f"{'grpcs' if self.secure else 'grpc'}://{self.target}"

    @property
    def max_message_bytes(self) -> int:
        """The largest message that it takes from the other side; -1: any."""
        return int(self.options.get(_RECEIVE, _RECEIVE_BYTES))

    def make(self) -> grpc.aio.Channel:
        """Make it; it connects with its first call."""
        options = list(self.options.items())
        if not self.secure:
            return grpc.aio.insecure_channel(
                self.target, options=options, interceptors=self.interceptors
            )
        credentials = self.credentials or grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(
            self.target, credentials, options=options, interceptors=self.interceptors
        )


def channel_options(target: str, max_message_bytes: int) -> dict[str, int | str]:
    """Arguments of a gRPC channel to ``target``, which may be anyone's engine."""
    options: dict[str, int | str] = {
        "grpc.enable_retries": 0,
        _RECEIVE: max_message_bytes,
        "grpc.max_send_message_length": -1,
        "grpc.max_metadata_size": METADATA_BYTES,
        # Servers ping us; that is no abuse.
        "grpc.http2.max_pings_without_data": 0,
        # A channel of its own, so that one hub's back-off does not delay another's connection.
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 5_000,
    }
    if is_loopback(target):
        # A proxy named in the environment cannot reach this machine's own ports.
        options["grpc.enable_http_proxy"] = 0
    return options


def is_loopback(target: str) -> bool:
    """Whether ``host:port`` names this very machine."""
    host = target.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")
