"""What is killed: a worker of chains and fan-outs.  ``python service.py HUB_FILE EFFECTS_FILE``."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext, when_all

app = App("crash")


def note(effects: Path, text: str) -> None:
    """Append one line, whole or not at all, as far as a killed process is concerned."""
    descriptor = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


@app.activity
def add(ctx: ActivityContext, numbers: list[int]) -> int:
    note(Path(os.environ["EFFECTS"]), f"{ctx.orchestration_id} {ctx.task_id}")
    threading.Event().wait(0.02)  # long enough to be killed in the middle
    return sum(numbers)


@app.orchestrator
def chain(ctx: OrchestrationContext, length: int) -> Orchestration[int]:
    total = 0
    for number in range(1, length + 1):
        total = yield ctx.call_activity(add, input=[total, number])
    return total


@app.orchestrator
async def fan_out(ctx: OrchestrationContext, width: int) -> int:
    parts = [ctx.call_activity(add, input=[number, number]) for number in range(width)]
    return sum(await when_all(parts))


def expected(name: str, size: int) -> int:
    """The result that an orchestration must have."""
    return size * (size + 1) // 2 if name == "chain" else size * (size - 1)


if __name__ == "__main__":
    os.environ["EFFECTS"] = sys.argv[2]
    app.run(task_hub=f"sqlite:///{sys.argv[1]}")
