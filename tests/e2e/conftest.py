"""Programs that a test writes, starts, watches and kills."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30


class Program:
    """A Python process; its output (both streams) can be waited for."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DURABLEFLOW_")}
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env={**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        """Return as soon as the output contains a text."""
        with self._changed:
            self._changed.wait_for(lambda: text in self.output or self._ended, DEADLINE_SECONDS)
        assert text in self.output, f"no {text!r} in:\n{self.output}"

    def send(self, signal: int) -> None:
        self.process.send_signal(signal)

    def end(self) -> int:
        """Wait until the process ends, and return its exit status."""
        status = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.end()
        assert not self._reader.is_alive(), f"others still write:\n{self.output}"
        assert self.process.stdout is not None
        self.process.stdout.close()  # which would wait for the reader, and heed no signal

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Workshop:
    """A folder in which programs are written and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[Program] = []

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def start(self, *words: str, folder: Path | None = None, **environment: str) -> Program:
        """Start ``python`` with some words."""
        program = Program(list(words), folder or self.folder, environment)
        self._programs.append(program)
        return program

    def run(self, *words: str, folder: Path | None = None, **environment: str) -> tuple[int, str]:
        """Run ``python`` with some words to its end; return its status and output."""
        program = self.start(*words, folder=folder, **environment)
        return program.end(), program.output

    def type(self, text: str) -> str:
        """Type lines at Python's prompt, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-i", "-q"],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input=textwrap.dedent(text).lstrip(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
        )
        return done.stdout

    def close(self) -> None:
        for program in self._programs:
            program.kill()


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.close()


@pytest.fixture(scope="module", params=["in process", "over gRPC"])
def task_hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of an embedded engine: one in this process, one in a process of its own."""
    folder = tmp_path_factory.mktemp("hub")
    if request.param == "in process":
        yield f"sqlite:///{folder / 'hub.db'}"
        return
    engine = Program(["-m", "durableflow.engine", "--db", "hub.db"], folder, {})
    engine.wait_for("is served at grpc://")
    yield next(word for word in engine.output.split() if word.startswith("grpc://"))
    engine.kill()
