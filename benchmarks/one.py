"""Runs one workload on one system, in this process, and prints what it measured as JSON.

``python -m benchmarks.one SYSTEM WORKLOAD FOLDER [--quick] [--threads]``.  The run of all of them starts each
so, with a time limit, so that none can harm the others.  With ``--threads`` it also says, on its standard
error, what each thread of this process has cost.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path

from benchmarks.catalogue import LIMITS, W5, W5_STORED, W7
from benchmarks.sizes import Sizes, sizes_for
from benchmarks.threads import watching


async def measure(
    system: str, workload: str, folder: Path, sizes: Sizes, *, shows_threads: bool = False
) -> None:
    """Print the measurements, by metric.

    Args:
        folder: An empty one, for the files of the system.
        shows_threads: Whether to say what each thread has cost, for the workloads that this
            process drives itself.
    """
    if workload == LIMITS:
        tell(await importlib.import_module("benchmarks.limits").measure(folder))
    elif workload in (W5, W5_STORED):
        passing = importlib.import_module("benchmarks.passing")
        measured = passing.measure_inline if workload == W5 else passing.measure_stored
        # On a thread of its own: its clients block.
        tell(await asyncio.to_thread(measured, system, folder, sizes))
    elif workload == W7:
        tell(importlib.import_module("benchmarks.asleep").measure(folder, sizes))
    else:
        workloads = importlib.import_module("benchmarks.workloads")
        module = importlib.import_module(f"benchmarks.systems.{system}")
        async with module.running(folder) as driver:
            with watching() if shows_threads else nullcontext(()) as costs:
                tell(await workloads.BY_NAME[workload](driver, sizes))
            if costs:
                print(*costs, sep="\n", file=sys.stderr)


def tell(results: dict[str, float]) -> None:
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    _system, _workload, _folder, *_options = sys.argv[1:]
    _sizes = sizes_for(_system, quick="--quick" in _options)
    _shows_threads = "--threads" in _options
    asyncio.run(measure(_system, _workload, Path(_folder), _sizes, shows_threads=_shows_threads))
