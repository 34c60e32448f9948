"""Finds out what kind of engine answers at an address, and keeps away from Dapr.

Engines do not introduce themselves, so two harmless questions are asked whose answers differ: one
that only a Dapr sidecar knows, and a query for an instance that nobody has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from google.protobuf.empty_pb2 import Empty

from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, TaskHubAddressError
from durableflow.hub.names import new_id
from durableflow.hub.profiles import DURABLETASK_GO, EngineProfile, unknown_engine
from durableflow.hub.remote import HubLostError, RemoteTaskHub
from durableflow.protocol.status import Status

PROBE_SECONDS: Final = 15.0

# Source: dapr/proto/runtime/v1/dapr.proto, service Dapr.  It reads, and takes no argument.
DAPR_PATH: Final = "/dapr.proto.runtime.v1.Dapr/GetMetadata"

_AWAY: Final = frozenset({Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED})


async def identify(hub: RemoteTaskHub, timeout: float | None) -> EngineProfile:
    """Ask who is there.

    Args:
        timeout: In seconds; it is cut to ``PROBE_SECONDS``.

    Raises:
        TaskHubAddressError: a Dapr sidecar.
        HubLostError: nobody answers; nothing was changed anywhere.
    """
    seconds = PROBE_SECONDS if timeout is None else min(timeout, PROBE_SECONDS)
    is_dapr, profile = await asyncio.gather(_is_dapr(hub, seconds), _profile(hub, seconds))
    if is_dapr:
        raise dapr_refused(hub.description)
    return profile


def dapr_refused(address: str) -> TaskHubAddressError:
    """Make the error for the address of a Dapr sidecar."""
    return TaskHubAddressError(
        f"'{address}' is a Dapr sidecar. Dapr Workflow serves the same paths in a dialect of its own, "
        "with other meanings for the same field numbers, so that messages would be misread without "
        "an error. Nothing was sent. Use the embedded engine, a durabletask-go sidecar, or the "
        "Durable Task Scheduler."
    )


def is_dapr_of(environ: Mapping[str, str], target: str) -> bool:
    """Whether ``host:port`` is the Dapr sidecar that the environment names."""
    endpoint = environ.get("DAPR_GRPC_ENDPOINT")
    if endpoint:
        place = urlsplit(endpoint if "//" in endpoint else f"//{endpoint.removeprefix('dns:')}")
        named = place.netloc
    elif environ.get("DAPR_GRPC_PORT"):
        named = f"{environ.get('DAPR_RUNTIME_HOST', '127.0.0.1')}:{environ['DAPR_GRPC_PORT']}"
    else:
        return False
    return _plain(named) == _plain(target)


def _plain(target: str) -> str:
    host, _, port = target.rpartition(":")
    return f"{'localhost' if host in ('127.0.0.1', '[::1]') else host.lower()}:{port}"


async def _is_dapr(hub: RemoteTaskHub, seconds: float) -> bool:
    try:
        await hub.call(DAPR_PATH, Empty(), Empty, timeout=seconds)
    except CallError as error:
        _raise_if_away(error)
        # A sidecar that wants an API token says so; nobody else knows the word here.
        return error.status is Status.UNAUTHENTICATED and "api token" in str(error).lower()
    return True


async def _profile(hub: RemoteTaskHub, seconds: float) -> EngineProfile:
    request = pb.QueryInstancesRequest()
    request.query.maxInstanceCount = 1
    request.query.instanceIdPrefix.value = f"nobody-has-{new_id()}"
    try:
        await hub.query_instances(request, timeout=seconds)
    except CallError as error:
        _raise_if_away(error)
        if _speaks_like_durabletask_go(error):
            return DURABLETASK_GO
    return unknown_engine(f"the engine at {hub.description}")


def _speaks_like_durabletask_go(error: CallError) -> bool:
    # Up to v0.6 with the first text, and later, as long as queries were missing, with the second.
    return (error.status is Status.UNKNOWN and str(error) == "unimplemented") or (
        error.status is Status.UNIMPLEMENTED and str(error) == "QueryInstances is not implemented"
    )


def _raise_if_away(error: CallError) -> None:
    if error.status in _AWAY:
        raise HubLostError(str(error), untouched=True) from error
