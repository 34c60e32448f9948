"""Takes the stream of completions that workers of ours send; see ``hub.completion_stream``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow.engine.inflight import InFlight
from durableflow.engine.trouble import call_error
from durableflow.errors import CallError, StorageError
from durableflow.hub.core import grpc
from durableflow.hub.port import TaskHub
from durableflow.protocol.status import Status

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[AsyncIterator[admin_pb.Completions], Context], Awaitable[None]]


class Traffic(Protocol):
    """What a server that goes away waits for."""

    def admit(self) -> bool:
        """Count one more under way, unless nothing new is taken on any more."""

    def leave(self) -> None:
        """What was admitted has ended, in whatever way."""


def completions_call(
    hub: TaskHub, traffic: Traffic, *, refuse: Callable[[Context], Awaitable[object]]
) -> Handler:
    """Make what carries out the call for a hub.

    Args:
        traffic: Each message is under way until its answer is on the wire.
        refuse: Ends the call with the word that the engine is going; for messages that come then.
    """

    async def handle(messages: AsyncIterator[admin_pb.Completions], context: Context) -> None:
        call = _Call(hub, traffic, context)
        all_taken = True
        try:
            all_taken = await call.carry_out(messages)
        except* Exception as errors:
            if not context.cancelled():  # else nobody is there any more
                logger.exception("The stream of completions broke")
                raise CallError(Status.INTERNAL, "The stream of completions broke.") from errors
        finally:
            call.forget()
        if not all_taken:
            await refuse(context)

    return handle


def completions_handler(handler: Handler) -> grpc.RpcMethodHandler[Any, Any]:
    """Say to grpc of which shape the call is."""
    return grpc.stream_stream_rpc_method_handler(
        handler,
        request_deserializer=admin_pb.Completions.FromString,
        response_serializer=admin_pb.CompletionsTaken.SerializeToString,
    )


class _Call:
    """One worker's stream."""

    def __init__(self, hub: TaskHub, traffic: Traffic, context: Context) -> None:
        self._hub = hub
        self._traffic = traffic
        self._context = context
        self._under_way = InFlight()
        self._answers: asyncio.Queue[admin_pb.CompletionsTaken] = asyncio.Queue()

    async def carry_out(self, messages: AsyncIterator[admin_pb.Completions]) -> bool:
        """Take messages until there are no more and all are answered.

        Returns:
            False if one was not taken, because nothing new is admitted.
        """
        async with asyncio.TaskGroup() as both:
            writing = both.create_task(self._write())
            all_taken = await self._take(messages)
            await self._under_way.quiet()
            writing.cancel()
        return all_taken

    def forget(self) -> None:
        """Wait no longer for what is not answered: nobody is there who would hear it."""
        for _ in range(self._under_way.count):
            self._traffic.leave()

    async def _take(self, messages: AsyncIterator[admin_pb.Completions]) -> bool:
        async for message in messages:
            if not self._traffic.admit():
                return False
            self._under_way.enter()
            _Taking(self._hub, message, self._answers.put_nowait).start()
        return True

    async def _write(self) -> None:
        while True:
            await self._context.write(await self._answers.get())
            self._under_way.leave()
            self._traffic.leave()


class _Taking:
    """One message, until all that it carries is committed or has failed."""

    def __init__(
        self,
        hub: TaskHub,
        message: admin_pb.Completions,
        answer: Callable[[admin_pb.CompletionsTaken], None],
    ) -> None:
        self._hub = hub
        self._message = message
        self._answer = answer
        self._taken = admin_pb.CompletionsTaken(number=message.number)
        self._open = 1

    def start(self) -> None:
        """Hand everything to the hub."""
        for turn in self._message.turns:
            self._take(turn.completionToken, partial(self._hub.complete_orchestrator_task, turn))
        for activity in self._message.activities:
            token = activity.completionToken
            self._take(token, partial(self._hub.complete_activity_task, activity))
        self._close()

    def _take(self, token: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            answer = asyncio.ensure_future(call())
        except Exception as error:  # noqa: BLE001 -- one result must not cost the stream
            self._fail(token, error)
            return
        self._open += 1
        answer.add_done_callback(partial(self._done, token))

    def _done(self, token: str, answer: asyncio.Future[object]) -> None:
        if answer.cancelled():
            self._fail(token, CallError(Status.UNAVAILABLE, "The engine is going away."))
        else:
            error = answer.exception()
            if error is not None:
                self._fail(token, error)
        self._close()

    def _fail(self, token: str, error: BaseException) -> None:
        if isinstance(error, StorageError):
            error = call_error(error)
        if not isinstance(error, CallError):
            logger.error("A result that a worker sent could not be taken", exc_info=error)
            error = CallError(Status.INTERNAL, f"The engine failed: {type(error).__name__} {error}")
        failed = self._taken.failed.add()
        failed.completion_token = token
        failed.status = error.status.value
        failed.message = str(error)

    def _close(self) -> None:
        self._open -= 1
        if not self._open:
            self._answer(self._taken)
