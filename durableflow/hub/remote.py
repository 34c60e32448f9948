"""A task hub on the other side of a gRPC connection.

What grpc says is turned into what the port says: statuses into ``CallError``, a connection that
breaks under a call that must not be repeated into ``OutcomeUnknownError``.  Nothing is retried
here; the channel's own retries are off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError, OutcomeUnknownError
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.channel import Channel, channel_options
from durableflow.hub.completion_stream import Completion, CompletionStream
from durableflow.hub.core import grpc
from durableflow.hub.credentials import TokenSource
from durableflow.hub.options import HubOptions
from durableflow.protocol.metadata import AUTHORIZATION, MAX_MESSAGE_BYTES, Metadata
from durableflow.protocol.service import BY_METHOD, COMPLETE, FIND_TAKERS, Kind
from durableflow.protocol.status import Status

Reply = TypeVar("Reply", bound=Message)

# Our server says in its trailing metadata who speaks when the status is UNAVAILABLE; where nobody
# says so, the connection broke.
SPEAKER: Final = "durableflow-speaker"
SPEAKER_ENGINE: Final = "engine"  # the engine looked at the call
SPEAKER_DOOR: Final = "door"  # it is going away, and turned the call down unread

# Carried out once for each time it is sent.  (The port has one such call so far.)
NOT_IDEMPOTENT: Final = frozenset({"raise_event"})


class HubLostError(CallError):
    """The engine that the call was sent to is gone, or going.

    Attributes:
        untouched: Whether the call was certainly not carried out.
    """

    def __init__(self, message: str, *, untouched: bool) -> None:
        super().__init__(Status.UNAVAILABLE, message)
        self.untouched = untouched


class RemoteTaskHub(ForwardingHub):
    """``TaskHub`` over gRPC.

    Args:
        target: ``host:port``, as gRPC names it.
        secure: Whether to speak TLS, with the machine's certificate authorities.
        metadata: Sent with every call.
        options: Sizes and role.
    """

    def __init__(
        self,
        target: str,
        *,
        secure: bool = False,
        metadata: Metadata = (),
        options: HubOptions,
    ) -> None:
        self._prepared = Channel(
            target=target,
            role=options.role,
            secure=secure,
            options=channel_options(target, options.max_message_bytes),
            metadata=list(metadata),
        )
        self._metadata = metadata
        self._tokens: TokenSource | None = None
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}
        self._completions: CompletionStream | None = None
        self._closed = False

    @classmethod
    def over(
        cls, channel: Channel, options: HubOptions, tokens: TokenSource | None = None
    ) -> RemoteTaskHub:
        """Make one over a channel that has been thought about.

        Args:
            tokens: Where the ``authorization`` of each call comes from; None sends none.
        """
        hub = cls(channel.target, metadata=tuple(channel.metadata), options=options)
        hub._prepared = channel
        hub._tokens = tokens
        return hub

    @property
    def description(self) -> str:
        """See ``TaskHub``."""
        return self._prepared.description

    async def open(self) -> None:
        """Make the channel.  It connects with the first call, and by itself ever after."""
        if self._channel is not None:
            return
        self._channel = self._prepared.make()
        if self._tokens is None:  # an engine that wants tokens of its own is none of ours
            self._completions = CompletionStream(
                self._start_completions,
                explain=self.error_from,
                on_unknown=self._complete_one_by_one,
            )
        for method, rpc in BY_METHOD.items():
            make = (
                self._channel.unary_unary if rpc.kind is Kind.UNARY else self._channel.unary_stream
            )
            self._calls[method] = make(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.reply.FromString,
            )

    async def close(self) -> None:
        """See ``TaskHub``."""
        self._closed = True
        if self._completions is not None:
            await self._completions.close()
        if self._channel is not None:
            await self._channel.close(None)

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        """Send a call of the port and await its reply.

        Raises:
            OutcomeUnknownError: the connection broke under a call that must not be repeated.
            HubLostError: the connection broke, or could not be made.
            CallError: the engine's answer.
        """
        if method in NOT_IDEMPOTENT:
            return await self._forward_once(method, request, reply, timeout)
        if self._completions is not None and isinstance(request, Completion):
            try:
                await self._completions.send(request)
            except CallError as error:
                if error.status is not Status.UNIMPLEMENTED:
                    raise
            else:
                return reply()
        return await self._send(self._call_of(method), request, reply, timeout, metadata)

    async def call(
        self, path: str, request: Message, reply: type[Reply], *, timeout: float | None = None
    ) -> Reply:
        """Send a call that the port does not have, by its literal path."""
        call = self._open_channel().unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        return await self._send(call, request, reply, timeout, ())

    async def taken(
        self, work: pb.WorkItemFilters, *, timeout: float | None = None
    ) -> pb.WorkItemFilters:
        """See ``KnowsTakers``; engines of others answer UNIMPLEMENTED."""
        return await self.call(FIND_TAKERS, work, pb.WorkItemFilters, timeout=timeout)

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        """See ``TaskHub``."""
        call = self._call_of("stream_instance_history")
        token = await self._token(timeout)
        chunks = call(request, timeout=timeout, metadata=self._all_metadata((), token))
        try:
            async for chunk in chunks:
                yield chunk
        except grpc.aio.AioRpcError as error:
            raise self.error_from(error) from None
        except asyncio.CancelledError:
            self._explain_cancellation()
            raise
        finally:
            chunks.cancel()

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> RemoteWorkItemStream:
        """See ``TaskHub``."""
        said = (*metadata, (MAX_MESSAGE_BYTES, str(self._prepared.max_message_bytes)))

        async def start() -> Any:
            call = self._call_of("get_work_items")
            return call(request, metadata=self._all_metadata(said, await self._token(None)))

        return RemoteWorkItemStream(self, start)

    def error_from(self, error: grpc.aio.AioRpcError) -> CallError:
        """What the port says for an error of grpc's."""
        status = Status[error.code().name]
        details = error.details() or "no details"
        if status in self._prepared.advice:
            details = f"{details.removesuffix('.')}. {self._prepared.advice[status]}"
        if status is Status.DEADLINE_EXCEEDED:
            details = f"{self.description} has not answered before the deadline ({details})."
        if status is not Status.UNAVAILABLE:
            return CallError(status, details)
        message = f"The task hub at {self.description} is unavailable: {details}"
        speaker = _speaker(error)
        if speaker == SPEAKER_ENGINE:
            return CallError(status, message)
        return HubLostError(message, untouched=speaker == SPEAKER_DOOR)

    async def _start_completions(self) -> Any:
        channel = self._open_channel()
        call = channel.stream_stream(
            COMPLETE,
            request_serializer=admin_pb.Completions.SerializeToString,
            response_deserializer=admin_pb.CompletionsTaken.FromString,
        )
        return call(metadata=self._all_metadata((), await self._token(None)))

    def _complete_one_by_one(self) -> None:
        """The engine is not one of ours."""
        self._completions = None

    def _call_of(self, method: str) -> Any:
        self._open_channel()
        return self._calls[method]

    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None or self._closed:
            raise HubLostError(f"The connection to {self.description} is not open.", untouched=True)
        return self._channel

    async def _send(
        self,
        call: Any,
        request: Message,
        reply: type[Reply],
        timeout: float | None,
        metadata: Metadata,
    ) -> Reply:
        token = await self._token(timeout)
        answer: Reply
        try:
            answer = await self._attempt(
                call, request, timeout, self._all_metadata(metadata, token)
            )
        except CallError as error:
            # Turned down at the door, so it may be sent again with another token.
            if error.status is not Status.UNAUTHENTICATED or not self._rejects(token):
                raise
            token = await self._token(timeout)
            answer = await self._attempt(
                call, request, timeout, self._all_metadata(metadata, token)
            )
        return answer

    async def _attempt(
        self, call: Any, request: Message, timeout: float | None, metadata: Metadata
    ) -> Any:
        try:
            return await call(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self.error_from(error) from None
        except asyncio.CancelledError:
            self._explain_cancellation()
            raise

    async def _token(self, timeout: float | None) -> str | None:
        if self._tokens is None:
            return None
        try:
            async with asyncio.timeout(timeout):
                return await self._tokens.token()
        except TimeoutError:
            raise CallError(
                Status.DEADLINE_EXCEEDED, f"No token for {self.description} came in time."
            ) from None
        except CallError as error:
            message = f"{error} {self._prepared.advice.get(error.status, '')}".rstrip()
            if error.status is Status.UNAVAILABLE:
                raise HubLostError(message, untouched=True) from error
            raise CallError(error.status, message) from error

    def _rejects(self, token: str | None) -> bool:
        return token is not None and self._tokens is not None and self._tokens.reject(token)

    def _all_metadata(self, metadata: Metadata, token: str | None) -> Metadata:
        bearer = () if token is None else ((AUTHORIZATION, f"Bearer {token}"),)
        return self._metadata + metadata + bearer

    async def _forward_once(
        self, method: str, request: Message, reply: type[Reply], timeout: float | None
    ) -> Reply:
        call = self._call_of(method)
        connected = False
        try:
            async with asyncio.timeout(timeout):
                connected = await self._connected()
                return await self._send(call, request, reply, timeout, ())
        except TimeoutError:
            raise CallError(
                Status.DEADLINE_EXCEEDED, f"{method} was not answered within {timeout} seconds."
            ) from None
        except HubLostError as error:
            if error.untouched:
                raise
            if not connected:
                raise HubLostError(str(error), untouched=True) from None
            raise OutcomeUnknownError(
                Status.UNAVAILABLE,
                f"{error} This happened during {method}, which may or may not have been carried "
                "out: look at the instance before sending it again.",
            ) from None

    async def _connected(self) -> bool:
        """Wait for a connection or the failure of making one: what fails then was never sent."""
        channel = self._open_channel()
        state = channel.get_state(try_to_connect=True)
        while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)
        return bool(state is grpc.ChannelConnectivity.READY)

    def _explain_cancellation(self) -> None:
        # Closing a channel cancels its calls, and grpc then raises CancelledError in their tasks,
        # although nobody cancelled these.
        task = asyncio.current_task()
        if self._closed and (task is None or not task.cancelling()):
            raise HubLostError(
                f"The connection to {self.description} was closed.", untouched=False
            ) from None


class RemoteWorkItemStream:
    """``WorkItemStream`` over gRPC."""

    def __init__(self, hub: RemoteTaskHub, start: Callable[[], Awaitable[Any]]) -> None:
        self._hub = hub
        self._start = start
        self._call: Any = None
        self._cancelled = False

    def __aiter__(self) -> RemoteWorkItemStream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        if self._cancelled:
            raise StopAsyncIteration
        if self._call is None:
            self._call = await self._start()
        try:
            item = await self._call.read()
        except grpc.aio.AioRpcError as error:
            if self._cancelled:
                raise StopAsyncIteration from None
            raise self._hub.error_from(error) from None
        except asyncio.CancelledError:
            self._explain_cancellation()
            raise
        if item is grpc.aio.EOF:
            if self._cancelled:
                raise StopAsyncIteration
            raise CallError(Status.UNAVAILABLE, f"{self._hub.description} ended the stream.")
        work_item: pb.WorkItem = item
        return work_item

    def cancel(self) -> None:
        """See ``WorkItemStream``."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    def _explain_cancellation(self) -> None:
        # grpc raises CancelledError in the reader both when the call and when the task is cancelled.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return
        if self._cancelled:
            raise StopAsyncIteration
        raise HubLostError(
            f"The connection to {self._hub.description} was closed.", untouched=False
        ) from None


def _speaker(error: grpc.aio.AioRpcError) -> str | None:
    trailing: Any = error.trailing_metadata()
    return None if trailing is None else trailing.get(SPEAKER)
