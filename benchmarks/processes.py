"""Processes that take part in a measurement, and what the operating system tells about them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import frozen


class Process:
    """A Python module that runs as a process of its own, until it is stopped.

    It says one line on its standard output when it is ready.  It must end when its standard input
    does, or at SIGTERM.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def read_line(self) -> str:
        """Wait for a line and return it.

        Raises:
            ChildProcessError: the process ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{self._process.args!r} ended with {self._process.wait()}")
        return line.strip()

    def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end; insist after a while."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@frozen
class Usage:
    """What processes use, all together."""

    rss_bytes: int
    threads: int
    cpu_seconds: float

    @classmethod
    def of(cls, pids: tuple[int, ...]) -> Self:
        """Read it from /proc."""
        parts = [_usage(pid) for pid in pids]
        return cls(*(sum(numbers) for numbers in zip(*parts, strict=True)))


def _usage(pid: int) -> tuple[int, int, float]:
    folder = Path("/proc") / str(pid)
    lines = (folder / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    # Fields 14 and 15; the command before them may hold spaces.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return (
        int(status["VmRSS"].split()[0]) * 1024,
        int(status["Threads"]),
        ticks / os.sysconf("SC_CLK_TCK"),
    )
