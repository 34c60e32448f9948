"""What becomes of results on a stream that ends, or says what nobody understands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durableflow._proto import engine_admin_pb2 as admin_pb
from durableflow._proto import task_hub_pb2 as pb
from durableflow.errors import CallError
from durableflow.hub.completion_stream import CompletionStream
from durableflow.hub.core import grpc
from durableflow.protocol.status import Status

DEADLINE_SECONDS = 10.0

Answer = Callable[[admin_pb.Completions], admin_pb.CompletionsTaken]


class Call:
    """A call that answers each message by a function; raises what that raises."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._messages: asyncio.Queue[admin_pb.Completions] = asyncio.Queue()

    async def write(self, message: admin_pb.Completions) -> None:
        self._messages.put_nowait(message)

    async def read(self) -> admin_pb.CompletionsTaken:
        return self._answer(await self._messages.get())

    def cancel(self) -> None:
        pass


class Bench:
    def __init__(self, answer: Answer) -> None:
        self.unknown = 0
        self.stream = CompletionStream(
            self._start, explain=self._explain, on_unknown=self._on_unknown
        )
        self._answer = answer

    async def send(self, token: str) -> None:
        sent = self.stream.send(pb.ActivityResponse(completionToken=token))
        await asyncio.wait_for(sent, DEADLINE_SECONDS)

    async def _start(self) -> Any:
        return Call(self._answer)

    def _explain(self, error: grpc.aio.AioRpcError) -> CallError:
        return CallError(Status[error.code().name], "broken")

    def _on_unknown(self) -> None:
        self.unknown += 1


def taken(message: admin_pb.Completions) -> admin_pb.CompletionsTaken:
    return admin_pb.CompletionsTaken(number=message.number)


def of_another_message(message: admin_pb.Completions) -> admin_pb.CompletionsTaken:
    return admin_pb.CompletionsTaken(number=message.number + 1)


def of_another_completion(message: admin_pb.Completions) -> admin_pb.CompletionsTaken:
    answer = taken(message)
    answer.failed.add(completion_token="another", status=Status.NOT_FOUND.value)
    return answer


def of_no_status(message: admin_pb.Completions) -> admin_pb.CompletionsTaken:
    answer = taken(message)
    token = message.activities[0].completionToken
    answer.failed.add(completion_token=token, status=-1)
    return answer


def cancelled(message: admin_pb.Completions) -> admin_pb.CompletionsTaken:
    raise asyncio.CancelledError


async def test_what_is_taken_is_done() -> None:
    bench = Bench(taken)

    await bench.send("a")

    await bench.stream.close()


@pytest.mark.parametrize("answer", [of_another_message, of_another_completion, of_no_status])
async def test_an_answer_that_is_not_understood_sends_results_by_calls_of_their_own(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(answer)

    with pytest.raises(CallError) as error:
        await bench.send("a")

    assert error.value.status is Status.UNIMPLEMENTED
    assert bench.unknown == 1
    assert "The stream of completions broke" in caplog.text


async def test_a_call_that_its_channel_cancels_fails_what_is_on_it() -> None:
    bench = Bench(cancelled)

    with pytest.raises(CallError) as error:
        await bench.send("a")

    assert error.value.status is Status.UNAVAILABLE


async def test_a_stream_that_is_closed_before_it_began_fails_what_is_on_it() -> None:
    bench = Bench(taken)

    sent = bench.stream.send(pb.ActivityResponse(completionToken="a"))
    await bench.stream.close()

    with pytest.raises(CallError) as error:
        await asyncio.wait_for(sent, DEADLINE_SECONDS)
    assert error.value.status is Status.UNAVAILABLE
    await bench.send("b")
    await bench.stream.close()
