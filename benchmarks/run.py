"""Runs workloads on systems, each pair in a process of its own and within a time limit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Final

from attrs import field, frozen

from benchmarks.catalogue import SYSTEMS, W5_STORED, W6, W7

SECONDS: Final = {W5_STORED: 240, W6: 180, W7: 300}
OTHERWISE: Final = 90


@frozen
class Measured:
    """What was measured, and what could not be.

    Attributes:
        results: By system and metric.
        failures: By system and workload, why there is no result.
    """

    results: dict[str, dict[str, float]] = field(factory=dict)
    failures: dict[str, dict[str, str]] = field(factory=dict)


def measure(
    systems: Sequence[str],
    workloads: Sequence[str],
    *,
    quick: bool,
    tell: Callable[[str], None],
) -> Measured:
    """Run workload by workload, the systems one after the other, so that they meet like conditions.

    Args:
        tell: Called with a line for each that begins.
    """
    measured = Measured()
    for workload in workloads:
        for system in systems:
            if workload not in SYSTEMS[system].workloads:
                continue
            tell(f"{workload}: {SYSTEMS[system].title}")
            try:
                result = _run_one(system, workload, quick=quick)
            except ChildProcessError as error:
                measured.failures.setdefault(system, {})[workload] = str(error)
                tell(f"  {error}")
            else:
                measured.results.setdefault(system, {}).update(result)
    return measured


def _run_one(system: str, workload: str, *, quick: bool) -> dict[str, float]:
    """Measure in a session of its own, so that its processes can be ended with it.

    Raises:
        ChildProcessError: it failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="durableflow-bench-") as folder:
        options = ["--quick"] if quick else []
        return _read_results([system, workload, folder, *options], SECONDS.get(workload, OTHERWISE))


def _read_results(arguments: list[str], limit: float) -> dict[str, float]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.one", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise ChildProcessError(f"took longer than {limit} s") from None
    finally:
        _end(process)
    if process.returncode:
        raise ChildProcessError(_reason(errors))
    results: dict[str, float] = json.loads(output.splitlines()[-1])
    return results


def _reason(errors: str) -> str:
    """Return the line of a traceback that names the exception, else the last line."""
    lines = errors.strip().splitlines() or ["failed in silence"]
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    return (named or lines)[-1]


def _end(process: subprocess.Popen[str]) -> None:
    """End what is left of a session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.communicate()
