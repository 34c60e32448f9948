"""An engine that answers as a test tells it, over gRPC."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from durableflow._proto import task_hub_pb2 as pb
from durableflow.hub.core import grpc
from durableflow.protocol.service import RPCS

PATHS = {rpc.name: rpc for rpc in RPCS}


class ScriptedEngine(grpc.GenericRpcHandler):
    """Answers each call with an empty message, or as ``answers`` says; a stream with one item.

    Attributes:
        answers: By the call's name or full path: a status with its text, or a message.
        calls: How often each call came.
        requests: The last request of each call.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.requests: dict[str, bytes] = {}
        self.target = ""
        self._server: Any = None

    async def __aenter__(self) -> ScriptedEngine:
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    def service(self, details: Any) -> Any:
        path = details.method
        name = path.rpartition("/")[2]
        if name not in PATHS and path not in self.answers:
            return None

        async def hand_out(request: bytes, context: Any) -> None:
            self.calls[name] += 1
            item = self.answers.get(name, pb.WorkItem())
            await context.write(item.SerializeToString())
            await asyncio.Event().wait()

        if name == "GetWorkItems":
            return grpc.unary_stream_rpc_method_handler(hand_out)

        async def answer(request: bytes, context: Any) -> bytes:
            self.calls[name] += 1
            self.requests[name] = request
            found = self.answers.get(path, self.answers.get(name, b""))
            if isinstance(found, tuple):
                await context.abort(*found)
            return found if isinstance(found, bytes) else found.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)
