"""Past events for turns that need them: from memory while they fit, else from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from durableflow._proto import task_hub_pb2 as pb
from durableflow.engine.committer import Committer
from durableflow.engine.jobs import JobThread
from durableflow.engine.resident import Resident
from durableflow.engine.store import Reader
from durableflow.engine.stream import Stream
from durableflow.errors import CallError
from durableflow.protocol.status import Status

# Histories of instances that run on workers without sessions stay in memory up to this many bytes.
CACHE_BYTES: Final = 64 * 1024 * 1024
# A longer history is left to be streamed, where the worker can do that.
INLINE_BYTES: Final = 1024 * 1024

_CHUNKS_PER_READ: Final = 1000
# A streamed message is larger only when it is one event: whoever keeps gRPC's usual limit of 4 MiB
# can read every history that came in through it.
_MESSAGE_BYTES: Final = 1024 * 1024


class Histories:
    """Reads histories, and keeps those that are asked for again and again."""

    def __init__(self, jobs: JobThread, reader: Reader, committer: Committer) -> None:
        self._jobs = jobs
        self._reader = reader
        self._committer = committer
        self._cache: dict[Resident, list[bytes]] = {}
        self._bytes = 0

    def cached(self, resident: Resident) -> list[bytes] | None:
        """All chunks of an instance's history, if they are in memory."""
        chunks = self._cache.pop(resident, None)
        if chunks is not None:
            self._cache[resident] = chunks
        return chunks

    def begin(self, resident: Resident, chunks: list[bytes]) -> None:
        """Keep a history from now on; ``chunks`` is all of it."""
        self.drop(resident)
        self._cache[resident] = chunks
        self._bytes += sum(map(len, chunks))
        self._shrink()

    def extend(self, resident: Resident, chunk: bytes) -> None:
        """A turn was applied; if the history is kept, it grows."""
        chunks = self._cache.get(resident)
        if chunks is not None:
            chunks.append(chunk)
            self._bytes += len(chunk)
            self._shrink()

    def drop(self, resident: Resident) -> None:
        """Keep a history no longer."""
        self._bytes -= sum(map(len, self._cache.pop(resident, ())))

    async def read(self, resident: Resident) -> list[bytes]:
        """All chunks of the history as it is now, from disk.

        Raises:
            CallError: NOT_FOUND if the execution goes away meanwhile, and its history with it.
        """
        instance = resident.instance
        known = instance.chunks
        barrier = self._committer.barrier(resident)
        if barrier is not None:
            await barrier
        chunks: list[bytes] = []
        while True:
            more = await self._jobs.submit(
                self._reader.history, instance.key, len(chunks), _CHUNKS_PER_READ
            )
            chunks += more
            if len(more) < _CHUNKS_PER_READ:
                break
        if len(chunks) < known:
            raise CallError(
                Status.NOT_FOUND,
                f"Instance '{instance.instance_id}' has no execution '{instance.execution_id}' any "
                "more: it was purged, replaced or continued as new while its history was read.",
            )
        return chunks

    def _shrink(self) -> None:
        while self._bytes > CACHE_BYTES:
            self.drop(next(iter(self._cache)))


def attach_history(request: pb.OrchestratorRequest, stream: Stream, chunks: list[bytes]) -> None:
    """Send past events along, or have a long history streamed where the worker can do that."""
    if stream.streams_history and sum(map(len, chunks)) > INLINE_BYTES:
        request.requiresHistoryStreaming = True
    else:
        # Concatenated messages are one message whose repeated fields are concatenated.
        request.pastEvents.extend(pb.HistoryChunk.FromString(b"".join(chunks)).events)


def messages(chunks: Iterable[bytes]) -> Iterator[pb.HistoryChunk]:
    """The same events in messages fit for a stream, whatever the turns were that wrote them."""
    message, size = pb.HistoryChunk(), 0
    for chunk in chunks:
        for event in pb.HistoryChunk.FromString(chunk).events:
            event_bytes = event.ByteSize()
            if message.events and size + event_bytes > _MESSAGE_BYTES:
                yield message
                message, size = pb.HistoryChunk(), 0
            message.events.append(event)
            size += event_bytes
    if message.events:
        yield message
