"""One task hub behind each implementation of the port, and a face that spoils used messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from google.protobuf.message import Message

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.engine import Engine
from durableflow.engine.joining import FileTaskHub
from durableflow.engine.server import HubServer
from durableflow.hub.calls import ForwardingHub
from durableflow.hub.options import HubOptions
from durableflow.hub.payloads import PayloadHub
from durableflow.hub.port import TaskHub, WorkItemStream
from durableflow.hub.remote import RemoteTaskHub
from durableflow.protocol.metadata import Metadata
from durableflow.protocol.payload_fields import PayloadField
from durableflow.protocol.service import BY_METHOD
from tests.engine.driver import Client, Worker

Reply = TypeVar("Reply", bound=Message)

OPTIONS = HubOptions(role="worker")


class SpoilingHub(ForwardingHub):
    """Clears each message as soon as its call is over.

    A message belongs to its receiver: neither may the engine keep what it was given, nor what it
    gave.
    """

    def __init__(self, hub: TaskHub) -> None:
        self.hub = hub

    @property
    def description(self) -> str:
        return self.hub.description

    async def open(self) -> None:
        await self.hub.open()

    async def close(self) -> None:
        await self.hub.close()

    async def forward(
        self,
        method: str,
        request: Message,
        reply: type[Reply],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> Reply:
        call = getattr(self.hub, method)
        mine = copy_of(request)
        if method == "hello":
            await call(timeout=timeout)
            return reply()
        if BY_METHOD[method].takes_metadata:
            answer: Reply | None = await call(mine, metadata=metadata)
        else:
            answer = await call(mine, timeout=timeout)
        mine.Clear()
        if answer is None:  # a reply without content
            return reply()
        kept = copy_of(answer)
        answer.Clear()
        return kept

    async def stream_instance_history(
        self, request: pb.StreamInstanceHistoryRequest, *, timeout: float | None = None
    ) -> AsyncIterator[pb.HistoryChunk]:
        async for chunk in self.hub.stream_instance_history(copy_of(request), timeout=timeout):
            kept = copy_of(chunk)
            chunk.Clear()
            yield kept

    def get_work_items(
        self, request: pb.GetWorkItemsRequest, *, metadata: Metadata = ()
    ) -> WorkItemStream:
        return SpoilingStream(self.hub, copy_of(request), metadata)


class SpoilingStream:
    def __init__(self, hub: TaskHub, request: pb.GetWorkItemsRequest, metadata: Metadata) -> None:
        self._stream = hub.get_work_items(request, metadata=metadata)
        self._request = request

    def __aiter__(self) -> SpoilingStream:
        return self

    async def __anext__(self) -> pb.WorkItem:
        item = await anext(self._stream)
        self._request.Clear()
        kept = copy_of(item)
        item.Clear()
        return kept

    def cancel(self) -> None:
        self._stream.cancel()


def copy_of(message: Reply) -> Reply:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


class Reversing:
    """A codec that no payload escapes."""

    def encodes(self, field: PayloadField, text: str) -> bool:
        return True

    def encode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        return f"encoded {text[::-1]}"

    def decodes(self, field: PayloadField, text: str) -> bool:
        return text.startswith("encoded ")

    def decode(self, field: PayloadField, text: str, *, instance_id: str) -> str:
        return text.removeprefix("encoded ")[::-1]


@pytest.fixture(params=["in process", "over gRPC", "through the file", "behind a codec"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TaskHub]:
    """An empty task hub, open; once for each implementation of the port."""
    async with AsyncExitStack() as stack:
        if request.param == "through the file":
            hub: TaskHub = FileTaskHub(tmp_path / "hub.db", OPTIONS)
            await hub.open()
        else:
            hub = Engine(tmp_path / "hub.db")
            await hub.open()
        stack.push_async_callback(hub.close)
        if request.param == "over gRPC":
            server = HubServer(hub)
            await server.start()
            stack.push_async_callback(server.stop)
            hub = RemoteTaskHub(server.address, options=OPTIONS)
            await hub.open()
            stack.push_async_callback(hub.close)
        elif request.param == "behind a codec":
            # Spoiled on both sides, since this hub changes messages of either.
            sizes = {"max_payload_bytes": 2**40, "max_message_bytes": 2**40}
            hub = PayloadHub(SpoilingHub(hub), [Reversing()], **sizes)
        yield SpoilingHub(hub)


@pytest.fixture
def client(hub: TaskHub) -> Client:
    return Client(hub)


@pytest.fixture
async def worker(hub: TaskHub) -> AsyncIterator[Worker]:
    """A worker that takes everything."""
    async with Worker(hub) as worker:
        yield worker
