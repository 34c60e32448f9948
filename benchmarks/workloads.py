"""The workloads: each drives a running system and returns what it measured, by metric."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from benchmarks.catalogue import COMMITS, REPLAY, W1, W2, W3, W4, W6
from benchmarks.commits import counting
from benchmarks.processes import Usage
from benchmarks.sizes import Sizes
from benchmarks.systems import System

Results: TypeAlias = dict[str, float]

HOUR: Final = 3600
BATCH: Final = 500
ALONE: Final = 10
SHORT: Final = 20
WINDOW: Final = 100
IDLE_SECONDS: Final = 5


async def chains(system: System, sizes: Sizes) -> Results:
    """W1: sequential steps, many orchestrations at once and one alone."""
    await _run(system, "chain", [SHORT] * SHORT)
    seconds = await _median(sizes, lambda: _run(system, "chain", [sizes.steps] * sizes.chains))
    alone = [await _run(system, "chain", [ALONE]) for _ in range(sizes.alone)]
    return {
        "w1_steps": sizes.chains * sizes.steps / seconds,
        "w1_alone": statistics.median(alone) * 1e3,
    }


async def fan_out(system: System, sizes: Sizes) -> Results:
    """W2: parallel activities of one orchestration."""
    await _run(system, "fan", [WINDOW])
    return {"w2_total": await _median(sizes, lambda: _run(system, "fan", [sizes.fan]))}


async def long_history(system: System, sizes: Sizes) -> Results:
    """W3: whether a step costs more as the history grows."""
    await _run(system, "chain", [WINDOW])
    edges: list[tuple[float, float]] = []

    async def run() -> float:
        begin = time.perf_counter()
        (times,) = await system.wait(await system.start("stamps", [sizes.long]))
        seconds = time.perf_counter() - begin
        window = min(WINDOW, sizes.long // 2)
        per_step = 1e3 / (window - 1)
        first, last = times[window - 1] - times[0], times[-1] - times[-window]
        edges.append((first * per_step, last * per_step))
        return seconds

    seconds = await _median(sizes, run)
    first, last = (statistics.median(side) for side in zip(*edges, strict=True))
    return {
        "w3_total": seconds,
        "w3_first": first,
        "w3_last": last,
        "w3_growth": last / first,
        "w3_steps": sizes.long,
    }


async def starts(system: System, sizes: Sizes) -> Results:
    """W4: many short orchestrations."""
    await _run(system, "chain", [1] * WINDOW)
    seconds = await _median(sizes, lambda: _run(system, "chain", [1] * sizes.starts))
    return {"w4_starts": sizes.starts / seconds}


async def idle(system: System, sizes: Sizes) -> Results:
    """W6: what orchestrations cost that wait for a timer."""
    for _ in range(2):  # what so many at once leave behind is not what waiting costs
        await _run(system, "chain", [1] * BATCH)
    before = Usage.of(system.pids)
    begin = time.perf_counter()
    instances = []
    for done in range(0, sizes.idle, BATCH):
        instances += await system.start("sleep", [HOUR] * min(BATCH, sizes.idle - done))
    for done in range(0, sizes.idle, BATCH):
        await system.wait_started(instances[done : done + BATCH])
    seconds = time.perf_counter() - begin
    await asyncio.sleep(sizes.settle_seconds)
    resting = Usage.of(system.pids)
    await asyncio.sleep(IDLE_SECONDS)
    later = Usage.of(system.pids)
    return {
        "w6_schedule": seconds,
        "w6_memory": (resting.rss_bytes - before.rss_bytes) / sizes.idle / 1024,
        "w6_threads": resting.threads - before.threads,
        "w6_cpu": (later.cpu_seconds - resting.cpu_seconds) / IDLE_SECONDS * 100,
    }


async def cold_replay(system: System, sizes: Sizes) -> Results:
    """What a past step costs when a worker sees an orchestration for the first time."""
    long = await system.start("pause", [sizes.replayed] * sizes.repetitions)
    short = await system.start("pause", [SHORT] * sizes.repetitions)
    await system.wait_paused([*long, *short])
    await system.restart_worker()
    await _run(system, "chain", [SHORT] * SHORT)

    async def seconds_to_finish(instances: Sequence[str]) -> float:
        times = []
        for instance in instances:
            begin = time.perf_counter()
            await system.go([instance])
            await system.wait([instance])
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    difference = await seconds_to_finish(long) - await seconds_to_finish(short)
    results = {"replay": difference / (sizes.replayed - SHORT) * 1e6}
    alone = system.replay_alone(sizes.replayed)
    return results if alone is None else {**results, "replay_alone": alone}


async def commits(system: System, sizes: Sizes) -> Results:
    """How many transactions a step costs."""
    database = system.database
    assert database is not None
    await _run(system, "chain", [SHORT] * SHORT)
    with counting(database) as count:
        await _run(system, "chain", [sizes.steps])
        alone = count.so_far / sizes.steps
    with counting(database) as count:
        await _run(system, "chain", [sizes.steps] * sizes.chains)
        together = count.so_far / (sizes.steps * sizes.chains)
    return {"commits_alone": alone, "commits_chains": together}


BY_NAME: Final = {
    W1: chains,
    W2: fan_out,
    W3: long_history,
    W4: starts,
    W6: idle,
    REPLAY: cold_replay,
    COMMITS: commits,
}


async def _run(system: System, orchestrator: str, inputs: Sequence[int]) -> float:
    """Start an instance for each input, wait for all, and return the seconds it took."""
    begin = time.perf_counter()
    outputs = await system.wait(await system.start(orchestrator, inputs))
    seconds = time.perf_counter() - begin
    expected = [sum(range(1, n + 1)) if orchestrator == "fan" else n for n in inputs]
    if outputs != expected:
        raise AssertionError(f"{orchestrator} returned {outputs} for {inputs}")
    return seconds


async def _median(sizes: Sizes, run: Callable[[], Awaitable[float]]) -> float:
    """Run a measurement a few times, as the sizes say, and return the median of the seconds."""
    times: list[float] = []
    while len(times) < sizes.repetitions and sum(times) < sizes.budget_seconds:
        times.append(await run())
    return statistics.median(times)
