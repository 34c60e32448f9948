"""A stand-in for the Durable Task Scheduler: a gate with TLS in front of another engine.

It demands what the scheduler demands of each call, passes on what is right as it is, byte for
byte, and breaks streams off when it is told to.  It is no scheduler: what only the real service
does is not seen here.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LONGEST_SECONDS = 3600  # a call without a deadline has one in millions of years
STREAMS = ("GetWorkItems", "StreamInstanceHistory")
OF_WORKERS = re.compile("/(GetWorkItems|Complete|Abandon)")
OF_CLIENTS = re.compile("/(StartInstance|QueryInstances|RaiseEvent|Terminate|Suspend|Resume|Purge)")


@frozen
class Token:
    token: str
    expires_on: int


@define
class Gate:
    """What a call must bring along to be let in.

    Attributes:
        refused: What was turned down, and why, in order.
        seen: The metadata of the last call of each name.
    """

    task_hub: str = "orders"
    tokens: dict[str, tuple[int, str]] = field(factory=dict)
    refused: list[str] = field(factory=list)
    seen: dict[str, dict[str, str]] = field(factory=dict)

    def issue(self, seconds: int, role: str = "contributor") -> Token:
        token = f"token-{len(self.tokens)}"
        expires = int(time.time()) + seconds
        self.tokens[token] = (expires, role)
        return Token(token, expires)

    def revoke_all(self) -> None:
        self.tokens = {token: (0, role) for token, (_, role) in self.tokens.items()}

    def check(self, path: str, metadata: dict[str, str]) -> tuple[grpc.StatusCode, str] | None:
        self.seen[path.rpartition("/")[2]] = metadata
        found = self._check(path, metadata)
        if found is not None:
            self.refused.append(found[1])
        return found

    def _check(self, path: str, metadata: dict[str, str]) -> tuple[grpc.StatusCode, str] | None:
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        expires, role = self.tokens.get(token, (0, ""))
        if scheme != "Bearer" or expires <= time.time():
            return grpc.StatusCode.UNAUTHENTICATED, "The token is missing, unknown or expired."
        if metadata.get("taskhub") != self.task_hub:
            return grpc.StatusCode.NOT_FOUND, "There is no such task hub."
        if not re.fullmatch(
            r"durableflow/\S+ \((client|worker)\)", metadata.get("x-user-agent", "")
        ):
            return grpc.StatusCode.INVALID_ARGUMENT, "x-user-agent is missing."
        if OF_WORKERS.search(path) and metadata.get("workerid", "").count(":") != 2:
            return grpc.StatusCode.INVALID_ARGUMENT, "workerid is missing."
        if role == "worker" and OF_CLIENTS.search(path):
            return grpc.StatusCode.PERMISSION_DENIED, "Forbidden."
        return None


class StandIn:
    """The gate, listening.

    Args:
        target: ``host:port`` of the engine behind it.
    """

    def __init__(self, target: str, gate: Gate) -> None:
        self.gate = gate
        self.certificate, key = self_signed()
        self._behind = grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])
        self._streams: set[Any] = set()
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(32), handlers=[_Handler(self)])
        credentials = grpc.ssl_server_credentials([(key, self.certificate)])
        self.port = self._server.add_secure_port("localhost:0", credentials)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self.break_streams()
        assert self._server.stop(0).wait(20)
        self._behind.close()

    def break_streams(self) -> None:
        """End every stream of work items, as the service does after hours."""
        with self._changed:
            for stream in self._streams:
                stream.cancel()

    def wait_for_streams(self, count: int, seconds: float = 20.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._streams) == count, seconds)

    def unary(self, path: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self._admit(path, context)
            try:
                reply: bytes = self._behind.unary_unary(path)(
                    request, timeout=min(context.time_remaining(), LONGEST_SECONDS)
                )
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            return reply

        return answer

    def stream(self, path: str) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
        def answer(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self._admit(path, context)
            call = self._behind.unary_stream(path)(request)
            context.add_callback(call.cancel)
            self._list(call, present=True)
            try:
                yield from call
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            finally:
                self._list(call, present=False)

        return answer

    def _admit(self, path: str, context: grpc.ServicerContext) -> None:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        refusal = self.gate.check(path, metadata)
        if refusal is not None:
            context.abort(*refusal)

    def _list(self, call: Any, *, present: bool) -> None:
        with self._changed:
            (self._streams.add if present else self._streams.discard)(call)
            self._changed.notify_all()


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        if details.method.endswith(STREAMS):
            return grpc.unary_stream_rpc_method_handler(self._stand_in.stream(details.method))
        return grpc.unary_unary_rpc_method_handler(self._stand_in.unary(details.method))


def self_signed() -> tuple[bytes, bytes]:
    """Make a certificate for localhost, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(pem), private
