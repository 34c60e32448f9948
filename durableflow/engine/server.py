"""Serves any ``TaskHub`` over gRPC, from the table of calls in ``protocol.service``."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, cast

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from durableflow.engine import oversized
from durableflow.engine.admin import AdminCall
from durableflow.engine.completions import completions_call, completions_handler
from durableflow.engine.inflight import InFlight
from durableflow.engine.trouble import call_error
from durableflow.errors import CallError, SetupError, StorageError
from durableflow.hub.channel import METADATA_BYTES, is_loopback
from durableflow.hub.core import grpc
from durableflow.hub.options import DEFAULT_MAX_MESSAGE_BYTES
from durableflow.hub.port import TaskHub
from durableflow.hub.remote import SPEAKER, SPEAKER_DOOR, SPEAKER_ENGINE
from durableflow.protocol.metadata import AUTHORIZATION, Metadata
from durableflow.protocol.service import COMPLETE, RPCS, SERVICE, Kind, Rpc
from durableflow.protocol.status import Status

Context = Any  # grpc.aio.ServicerContext
Call = Callable[[Any, Context], Awaitable[Message]]

# Calls that may last as long as the caller likes; a server that goes away does not wait for them.
WAITS: Final = frozenset({"wait_for_instance_start", "wait_for_instance_completion"})

# What fits into the status of a call, percent-encoded and beside other metadata.
DETAILS_CHARACTERS: Final = 4_000

_CODES: Final = {status: grpc.StatusCode[status.name] for status in Status}


class HubServer:
    """A gRPC server on loopback in front of a task hub.

    Everything runs on the loop that ``start`` was called on, which must be the hub's.

    Args:
        hub: What is served; opened and closed by its owner.
        host: A loopback address.
        port: 0 takes a free one.
        token: What callers must present; None lets every local user in.
        admin: Calls beside the protocol, by path.
        max_message_bytes: The largest message accepted.
    """

    def __init__(
        self,
        hub: TaskHub,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        admin: Mapping[str, AdminCall] | None = None,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        self._hub = hub
        self._host = host
        self._port = port
        self._max_message_bytes = max_message_bytes
        self._traffic = _Traffic()
        self._handlers = _Handlers(token, self._handlers_of_service(admin or {}))
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        """``host:port`` as gRPC names it; the port is known once the server has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    async def start(self) -> int:
        """Begin to serve, and return the port.

        Raises:
            SetupError: the port is in use, or the host is not this machine alone.
        """
        if not is_loopback(self.address):
            raise SetupError(
                f"The engine serves on this machine only, and {self._host} is not a loopback "
                "address: use 127.0.0.1, or reach it from elsewhere through a tunnel of your own."
            )
        if not 0 <= self._port < 65_536:
            raise SetupError(f"{self._port} is not a port: give 1 to 65535, or 0 for any free one.")
        server = grpc.aio.server(options=list(server_options(self._max_message_bytes).items()))
        server.add_generic_rpc_handlers((self._handlers,))
        try:
            self._port = server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise SetupError(
                f"Port {self._port} of {self._host} cannot be served; most likely another process "
                "uses it already. Choose another port, or 0 for any free one."
            ) from error
        await server.start()
        self._server = server
        return self._port

    async def drain(self, seconds: float) -> None:
        """Refuse new calls as not carried out, and wait for the ones in flight, up to a bound.

        Waits and streams are not awaited; closing the hub ends them.
        """
        await self._traffic.drain(seconds)

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """Stop serving; calls still there after the grace time are broken off.  Idempotent."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace_seconds)

    def _handlers_of_service(
        self, admin: Mapping[str, AdminCall]
    ) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        handlers = {rpc.path: self._handler(rpc) for rpc in RPCS}
        completions = completions_call(self._hub, self._traffic, refuse=_refuse)
        handlers[COMPLETE] = completions_handler(self._traffic.gate_stream(completions))
        for path, call in admin.items():
            handlers[path] = grpc.unary_unary_rpc_method_handler(
                _admin_handler(call),
                request_deserializer=call.request.FromString,
                response_serializer=_serialize,
            )
        return handlers

    def _handler(self, rpc: Rpc) -> grpc.RpcMethodHandler[Any, Any]:
        if rpc.method is None:
            return _refusal(
                grpc.StatusCode.UNIMPLEMENTED,
                f"{rpc.name} is not carried out by {self._hub.description} yet.",
            )
        method = getattr(self._hub, rpc.method)
        if rpc.kind is Kind.SERVER_STREAM:
            stream = _work_items(self._hub) if rpc.takes_metadata else _history(method)
            return grpc.unary_stream_rpc_method_handler(
                self._traffic.gate_stream(stream),
                request_deserializer=rpc.request.FromString,
                response_serializer=rpc.reply.SerializeToString,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._traffic.gate(_unary(rpc, method), waits=rpc.method in WAITS),
            request_deserializer=rpc.request.FromString,
            response_serializer=rpc.reply.SerializeToString,
        )


class _Traffic:
    """Counts the calls in flight, and turns new ones away once the server is going."""

    def __init__(self) -> None:
        self._draining = False
        self._calls = InFlight()
        self._waits = InFlight()

    async def drain(self, seconds: float) -> None:
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calls.quiet()

    def admit(self) -> bool:
        """Count one more call in flight, unless new ones are turned away."""
        if self._draining:
            return False
        self._calls.enter()
        return True

    def leave(self) -> None:
        """A call that was admitted has ended."""
        self._calls.leave()

    def gate(self, call: Call, *, waits: bool) -> Call:
        in_flight = self._waits if waits else self._calls

        async def gated(request: Any, context: Context) -> Message:
            if self._draining:
                await _refuse(context)
            in_flight.enter()
            try:
                return await call(request, context)
            except (CallError, StorageError) as error:
                await _abort(context, error)
            finally:
                in_flight.leave()

        return gated

    def gate_stream(
        self, call: Callable[[Any, Context], Awaitable[None]]
    ) -> Callable[[Any, Context], Awaitable[None]]:
        async def gated(request: Any, context: Context) -> None:
            if self._draining:
                await _refuse(context)
            try:
                await call(request, context)
            except (CallError, StorageError) as error:
                await _abort(context, error)

        return gated


class _Handlers(grpc.GenericRpcHandler):
    """Finds the handler of a call, and lets only those in who know the token."""

    def __init__(
        self, token: str | None, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        self._handlers = handlers
        self._expected = None if token is None else bearer(token).encode()
        self._unauthenticated = _refusal(
            grpc.StatusCode.UNAUTHENTICATED,
            "This engine wants the token of its present run, and the call carried none or another "
            "one. Use the address sqlite:///<file>, which finds the token, or pass it along.",
        )

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        if self._expected is not None and not self._knows_token(handler_call_details):
            return self._unauthenticated
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None and path.startswith(f"/{SERVICE}/"):
            return _refusal(
                grpc.StatusCode.UNIMPLEMENTED, f"This engine knows no call named {path}."
            )
        return handler

    def _knows_token(self, details: grpc.HandlerCallDetails) -> bool:
        for key, value in cast(Iterable[tuple[str, str | bytes]], details.invocation_metadata):
            if key == AUTHORIZATION and self._expected is not None:
                given = value.encode() if isinstance(value, str) else value
                return hmac.compare_digest(given, self._expected)
        return False


def bearer(token: str) -> str:
    """The value of the ``authorization`` metadata for a token."""
    return f"Bearer {token}"


def server_options(max_message_bytes: int) -> Mapping[str, int]:
    """Arguments of the gRPC server: liveness comes from its pings, and a port has one server."""
    return {
        "grpc.so_reuseport": 0,
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
        "grpc.http2.min_ping_interval_without_data_ms": 1_000,
        "grpc.http2.max_ping_strikes": 0,
        "grpc.max_receive_message_length": max_message_bytes,
        "grpc.max_send_message_length": -1,
        "grpc.max_metadata_size": METADATA_BYTES,
        # gRPC refuses calls at random beyond a thousand that wait; who calls is on this machine.
        "grpc.server.max_pending_requests": 100_000,
        "grpc.server.max_pending_requests_hard_limit": 100_000,
    }


def _unary(rpc: Rpc, method: Any) -> Call:
    async def plain(request: Any, context: Context) -> Message:
        reply: Message | None = await method(request, timeout=context.time_remaining())
        return rpc.reply() if reply is None else reply

    async def with_metadata(request: Any, context: Context) -> Message:
        reply: Message = await method(request, metadata=_metadata_of(context))
        return reply

    async def without_request(_: Any, context: Context) -> Message:
        await method(timeout=context.time_remaining())
        return Empty()

    if rpc.request is Empty:
        return without_request
    return with_metadata if rpc.takes_metadata else plain


def _work_items(hub: TaskHub) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(request: Any, context: Context) -> None:
        metadata = _metadata_of(context)
        limit = oversized.limit_of(metadata)
        stream = hub.get_work_items(request, metadata=metadata)
        try:
            async for item in stream:
                if limit is None or oversized.fits(item, limit):
                    await context.write(item)
                else:
                    await oversized.refuse(hub, item, limit)
        finally:
            stream.cancel()

    return call


def _history(method: Any) -> Callable[[Any, Context], Awaitable[None]]:
    async def call(request: Any, context: Context) -> None:
        chunks: AsyncIterator[Message] = method(request, timeout=context.time_remaining())
        async for chunk in chunks:
            await context.write(chunk)

    return call


def _admin_handler(call: AdminCall) -> Callable[[Any, Context], Awaitable[Message]]:
    async def handle(request: Any, context: Context) -> Message:
        try:
            return await call.answer(request)
        except CallError as error:
            await _abort(context, error)

    return handle


def _refusal(code: grpc.StatusCode, details: str) -> grpc.RpcMethodHandler[Any, Any]:
    # A handler for one message each way answers calls of every shape when all it sends is a status.
    async def refuse(_: bytes, context: Context) -> bytes:
        await context.abort(code, details)
        return b""

    return grpc.unary_unary_rpc_method_handler(refuse)


async def _refuse(context: Context) -> NoReturn:
    await context.abort(
        grpc.StatusCode.UNAVAILABLE,
        "The engine is going away; nothing was done.",
        trailing_metadata=((SPEAKER, SPEAKER_DOOR),),
    )
    raise AssertionError("abort raises")


async def _abort(context: Context, error: CallError | StorageError) -> NoReturn:
    status = (error if isinstance(error, CallError) else call_error(error)).status
    await context.abort(
        _CODES[status],
        str(error)[:DETAILS_CHARACTERS],
        trailing_metadata=((SPEAKER, SPEAKER_ENGINE),),
    )
    raise AssertionError("abort raises")


def _metadata_of(context: Context) -> Metadata:
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if isinstance(value, str) and key != AUTHORIZATION
    )


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
