"""Under which circumstances a run is made, and whether its figures mean anything."""

from __future__ import annotations

import os
import platform
import resource
import time
from importlib import metadata
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from durableflow import __version__

PEERS: Final = ("durabletask", "dbos", "grpcio")
TOLERATED_CORES: Final = 0.1


@frozen
class Circumstances:
    """What is to be known about a run.

    Attributes:
        busy_elsewhere: Cores that processes other than this run's kept busy, on average.
    """

    seconds: float
    cores: int
    python: str
    packages: dict[str, str]
    busy_elsewhere: float

    @property
    def warning(self) -> str:
        """A sentence if others took much of the machine, else empty."""
        if self.busy_elsewhere <= TOLERATED_CORES:
            return ""
        return (
            f"Other processes kept {self.busy_elsewhere:.1f} cores busy meanwhile, "
            "so these figures are worse than the systems are."
        )


@frozen
class Beginning:
    """When a run began, and what the machine had done until then."""

    time: float
    all_cpu_seconds: float
    own_cpu_seconds: float

    @classmethod
    def now(cls) -> Self:
        return cls(time.monotonic(), _all_cpu_seconds(), _own_cpu_seconds())

    @property
    def seconds_ago(self) -> float:
        return time.monotonic() - self.time

    def until_now(self) -> Circumstances:
        """Return the circumstances of what happened since."""
        busy = _all_cpu_seconds() - self.all_cpu_seconds
        own = _own_cpu_seconds() - self.own_cpu_seconds
        return Circumstances(
            self.seconds_ago,
            os.cpu_count() or 1,
            platform.python_version(),
            {"durableflow": __version__} | {name: metadata.version(name) for name in PEERS},
            round(max(busy - own, 0) / self.seconds_ago, 2),
        )


def _all_cpu_seconds() -> float:
    """Return what all processes have used since the machine was started."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def _own_cpu_seconds() -> float:
    """Return what this process has used, and those that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
