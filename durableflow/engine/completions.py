"""Takes the stream of completions that workers of ours send; see ``hub.completing``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow.errors import CallError
from durableflow.hub.core import grpc
from durableflow.hub.port import TaskHub
from durableflow.protocol.status import Status

Context = grpc.aio.ServicerContext[Any, Any]


def completions_handler(hub: TaskHub) -> grpc.RpcMethodHandler[Any, Any]:
    """Make the handler of the call for a hub."""

    async def handle(messages: AsyncIterator[admin_pb.Completions], context: Context) -> None:
        answers: asyncio.Queue[admin_pb.CompletionsTaken] = asyncio.Queue()

        async def take() -> None:
            async for message in messages:
                _Taking(hub, message, answers.put_nowait).start()

        taking = asyncio.create_task(take())
        answer: asyncio.Task[admin_pb.CompletionsTaken] | None = None
        try:
            while not (taking.done() and answers.empty()):
                answer = asyncio.create_task(answers.get())
                await asyncio.wait({taking, answer}, return_when=asyncio.FIRST_COMPLETED)
                if answer.done():
                    await context.write(answer.result())
                else:
                    answer.cancel()
        finally:
            taking.cancel()
            if answer is not None:
                answer.cancel()

    return grpc.stream_stream_rpc_method_handler(
        handle,
        request_deserializer=admin_pb.Completions.FromString,
        response_serializer=admin_pb.CompletionsTaken.SerializeToString,
    )


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
        except CallError as error:
            self._fail(token, error)
            return
        self._open += 1
        answer.add_done_callback(partial(self._done, token))

    def _done(self, token: str, answer: asyncio.Future[object]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if error is not None or answer.cancelled():
            self._fail(token, error)
        self._close()

    def _fail(self, token: str, error: BaseException | None) -> None:
        status = error.status if isinstance(error, CallError) else Status.UNAVAILABLE
        failed = self._taken.failed.add()
        failed.completion_token = token
        failed.status = status.value
        failed.message = str(error or "The engine is going away.")

    def _close(self) -> None:
        self._open -= 1
        if not self._open:
            self._answer(self._taken)
