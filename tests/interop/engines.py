"""Engines that the tests talk to: ours in a process, the public SDK's, and the Go sidecar."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from durabletask.testing import InMemoryOrchestrationBackend

ROOT = Path(__file__).parents[2]
SIDECAR = ROOT / ".venv" / "engines" / "durabletask-go"
DEADLINE_SECONDS = 30


@frozen
class Served:
    """An engine that answers.

    Attributes:
        address: As a setting gives it.
        plugins: What an app needs to reach it.
        lacks: What it cannot do.
        forget_workers: Returns when it knows that no worker is connected any more; to be called
            when none is, by whoever starts another one.
    """

    address: str
    plugins: tuple[object, ...] = ()
    lacks: frozenset[str] = field(default=frozenset(), converter=frozenset)
    forget_workers: Callable[[], None] = lambda: None

    def needs(self, feature: str) -> None:
        """Skip a test of what this engine cannot do."""
        if feature in self.lacks:
            pytest.skip(f"the engine at {self.address} lacks {feature}")

    @property
    def target(self) -> str:
        return self.address.partition("://")[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def our_engine(folder: Path) -> Iterator[Served]:
    """``python -m durableflow.engine``, as another program would find it."""
    port = free_port()
    words = ["-m", "durableflow.engine", "--db", str(folder / "hub.db"), "--port", str(port)]
    with _process([sys.executable, *words], "is served at", folder):
        yield Served(f"grpc://127.0.0.1:{port}")


class SdkBackend(InMemoryOrchestrationBackend):
    """The public Python SDK's engine for tests, which says when streams have ended.

    It looks every 0.1 s whether the other side of a stream is there.  What it gives to one that is
    not, and has not been missed yet, is lost.
    """

    def __init__(self) -> None:
        super().__init__(port=free_port())
        self._open = 0
        self._changed = threading.Condition()

    def GetWorkItems(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802  # gRPC's
        self._count(1)
        try:
            yield from super().GetWorkItems(request, context)
        finally:
            self._count(-1)

    def forget_workers(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._open == 0, DEADLINE_SECONDS)

    def _count(self, more: int) -> None:
        with self._changed:
            self._open += more
            self._changed.notify_all()


@contextmanager
def sdk_engine() -> Iterator[Served]:
    """The public Python SDK's engine for tests; it lives in this process."""
    backend = SdkBackend()
    port = backend.start().rpartition(":")[2]
    try:
        yield Served(
            f"grpc://127.0.0.1:{port}",
            lacks={"failures without a message"},
            forget_workers=backend.forget_workers,
        )
    finally:
        backend.stop()


@contextmanager
def go_sidecar(folder: Path) -> Iterator[Served]:
    """durabletask-go, as ``make engine-go`` built it."""
    if not SIDECAR.exists():
        reason = "run make engine-go" if shutil.which("go") else "there is no Go toolchain here"
        pytest.skip(f"the durabletask-go sidecar is not built: {reason}")
    port = free_port()
    with _process([str(SIDECAR), "-host", "127.0.0.1", "-port", str(port)], "listening", folder):
        yield Served(f"grpc://127.0.0.1:{port}", lacks={"events between instances"})


@contextmanager
def _process(words: list[str], ready: str, folder: Path) -> Iterator[None]:
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=output, text=True
        )
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if ready in line), None)
            assert line, (folder / "output.txt").read_text()
            yield
        finally:
            process.terminate()
            try:
                process.communicate(timeout=DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
