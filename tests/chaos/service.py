"""What runs beside an engine that is killed: ``python -m durableflow run service:app``."""

from __future__ import annotations

import os

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext

app = App("chaos")


@app.activity
def add(ctx: ActivityContext, numbers: list[int]) -> int:
    # One write of one line is whole or not there, also when many threads do it.
    descriptor = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{ctx.idempotency_key}\n".encode())
    finally:
        os.close(descriptor)
    return sum(numbers)


@app.orchestrator
def order(ctx: OrchestrationContext, number: int) -> Orchestration[int]:
    total = yield ctx.call_activity(add, input=[number, 1])
    yield ctx.wait_for_external_event("go")
    total = yield ctx.call_activity(add, input=[total, 1])
    yield ctx.create_timer(0.01)
    return (yield ctx.call_activity(add, input=[total, 1]))
