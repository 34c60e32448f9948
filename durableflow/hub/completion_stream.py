"""Results of work items over one stream to an engine of ours, as many a message as there are.

A unary call costs an engine in Python as much as the turn that it carries.  So what is completed
at one moment goes in one message, on a stream that stays open, and one message back says that all
of it is committed.  Engines of others do not know the call; they get the protocol's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.core import grpc
from durableflow.protocol.sizes import is_refused_for_size
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

# A message is not made larger than about this, so that every receiver takes it.
_MESSAGE_BYTES: Final = 1024 * 1024

Completion = pb.OrchestratorResponse | pb.ActivityResponse


class CompletionStream:
    """Sends completions, and tells each sender what became of its own.

    Args:
        start: Opens the call, both ways.
        explain: Makes what the port says of an error of grpc's.
        on_unknown: Called if the engine does not know the call.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Any]],
        *,
        explain: Callable[[grpc.aio.AioRpcError], CallError],
        on_unknown: Callable[[], None],
    ) -> None:
        self._start = start
        self._explain = explain
        self._on_unknown = on_unknown
        self._waiting: list[tuple[Completion, asyncio.Future[None]]] = []
        self._sent: dict[int, dict[str, asyncio.Future[None]]] = {}
        self._numbers = 0
        self._answered = False
        self._task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    def send(self, completion: Completion) -> asyncio.Future[None]:
        """Send a completion soon, together with those that come until then.

        Returns:
            What is done when the engine has committed it, and fails with ``CallError``.  With
            UNIMPLEMENTED it has to be sent by a call of its own.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((completion, future))
        self._more.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return future

    async def close(self) -> None:
        """End the stream; what is not answered fails with UNAVAILABLE."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            # A task that was cancelled before its first step has told nobody.
            self._fail(CallError(Status.UNAVAILABLE, "The connection was closed."))

    async def _run(self) -> None:
        error = CallError(Status.UNAVAILABLE, "The connection was closed.")
        call = None
        self._answered = False
        try:
            call = await self._start()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._read(call))
                both.create_task(self._write(call))
        except* grpc.aio.AioRpcError as group:
            error = self._explain(_first(group))
        except* CallError as group:
            error = _first(group)
        except* Exception:
            # Whatever it is, results must not be lost in silence: they go by calls of their own.
            logger.exception("The stream of completions broke, and is not used again")
            error = CallError(Status.UNIMPLEMENTED, "The stream of completions broke.")
        finally:
            self._task = None
            if call is not None:
                call.cancel()
            if error.status is Status.UNIMPLEMENTED:
                self._on_unknown()
            if self._is_about_the_stream(error):
                error = CallError(Status.UNIMPLEMENTED, str(error))
            self._fail(error)

    def _is_about_the_stream(self, error: CallError) -> bool:
        """Whether an error is about the stream, and says nothing of each completion on it.

        One that is too large ends the stream for all.  And grpc may take a stream that an engine
        turned down at once for a broken one, if the first message was on its way already.
        """
        unheard = error.status is Status.INTERNAL and not self._answered
        return unheard or is_refused_for_size(error)

    async def _write(self, call: Any) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                try:
                    await call.write(self._message())
                except asyncio.InvalidStateError:  # the call has ended; reading tells why
                    return

    async def _read(self, call: Any) -> None:
        while True:
            try:
                taken = await call.read()
            except asyncio.CancelledError:
                _raise_if_cancelled()
                # The call was, by its channel: grpc then says so to whoever reads.
                raise CallError(Status.UNAVAILABLE, "The connection was closed.") from None
            if taken is grpc.aio.EOF:
                raise CallError(Status.UNAVAILABLE, "The engine ended the stream of completions.")
            self._answered = True
            futures = self._sent[taken.number]
            for failed in taken.failed:
                future = futures[failed.completion_token]
                if not future.done():
                    future.set_exception(CallError(Status(failed.status), failed.message))
            for future in futures.values():
                if not future.done():
                    future.set_result(None)
            # Not before: what stays here when an answer is not understood fails with the stream.
            del self._sent[taken.number]

    def _message(self) -> admin_pb.Completions:
        """As much of what waits as goes into one message."""
        self._numbers += 1
        message = admin_pb.Completions(number=self._numbers)
        futures = self._sent[self._numbers] = {}
        size = taken = 0
        for completion, future in self._waiting:
            if size > _MESSAGE_BYTES or completion.completionToken in futures:
                break
            taken += 1
            size += completion.ByteSize()
            futures[completion.completionToken] = future
            if isinstance(completion, pb.OrchestratorResponse):
                message.turns.append(completion)
            else:
                message.activities.append(completion)
        del self._waiting[:taken]
        return message

    def _fail(self, error: CallError) -> None:
        futures = [f for sent in self._sent.values() for f in sent.values()]
        futures += [future for _, future in self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for future in futures:
            if not future.done():
                future.set_exception(error)


def _raise_if_cancelled() -> None:
    """Raise ``CancelledError`` if somebody has cancelled this task."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(group: BaseExceptionGroup[Any]) -> Any:
    """One of the errors of two tasks that ended together."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
