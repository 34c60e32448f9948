"""The engine's process is killed at random moments; nothing that it acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.engine.conftest import OpenEngine
from tests.engine.driver import COMPLETED, Client, Worker, kinds
from tests.engine.victim import orders

ROOT = Path(__file__).parents[2]
SEED = 20_240_229
KILLS = 8


def killed_run(file: Path, number: int, after: int) -> list[str]:
    """Run a busy hub until it said ``after`` lines, kill it, and return all that it said."""
    words = [sys.executable, "-m", "tests.engine.victim", str(file), str(number)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [line for _, line in zip(range(after), process.stdout, strict=False)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL, lines
    return [line.strip() for line in lines if line.endswith("\n")]


def said(lines: Iterable[str], word: str) -> set[str]:
    return {line.split()[1] for line in lines if line.startswith(f"{word} ")}


@pytest.mark.e2e
async def test_what_was_acknowledged_outlasts_kills_at_random_moments(
    opened: OpenEngine, file: Path
) -> None:
    moments = random.Random(SEED)
    lines: list[str] = []
    for number in range(KILLS):
        lines += await asyncio.to_thread(killed_run, file, number, moments.randint(1, 150))
    started, raised, completed = (said(lines, w) for w in ("started", "raised", "completed"))

    client = Client(await opened())
    for instance_id in completed:
        assert await client.status(instance_id) == COMPLETED
    async with Worker(client.hub) as worker:
        running = asyncio.create_task(orders(worker))
        outcomes = await asyncio.gather(*(client.state(one) for one in started))
        for instance_id in raised:
            assert await client.completion(instance_id) == COMPLETED
            history = await client.history(instance_id)
            assert history[-1].executionCompleted.result.value == f'"{instance_id}"'
            for once in ("executionStarted", "taskScheduled", "taskCompleted", "eventRaised"):
                assert kinds(history).count(once) == 1, f"{once} of {instance_id}"
        running.cancel()

    assert len(outcomes) == len(started) >= KILLS
    assert len(raised) > 0
    assert not any(state.HasField("failureDetails") for state in outcomes)
