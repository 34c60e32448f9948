"""Runs orchestrations on whatever durableflow is installed: in process, and over gRPC."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from durableflow import ActivityContext, App, Orchestration, OrchestrationContext, when_all

app = App("smoke")


@dataclass(frozen=True)
class Order:
    product: str
    quantity: int


@app.activity
def price(ctx: ActivityContext, order: Order) -> int:
    return len(order.product) * order.quantity


@app.activity
async def doubled(ctx: ActivityContext, n: int) -> int:
    return 2 * n


@app.orchestrator
def chain(ctx: OrchestrationContext, order: Order) -> Orchestration[int]:
    first = yield ctx.call_activity(price, input=order)
    return (yield ctx.call_activity(doubled, input=first))


@app.orchestrator
async def fan_out(ctx: OrchestrationContext, orders: list[Order]) -> int:
    return sum(await when_all([ctx.call_activity(price, input=order) for order in orders]))


def run(task_hub: str) -> list[int]:
    orders = [Order("pen", n) for n in range(4)]
    with app.running(task_hub=task_hub) as client:
        return [
            client.run_orchestration(chain, input=orders[2]),
            client.run_orchestration(fan_out, input=orders),
        ]


def main() -> None:
    assert run("sqlite:///in_process.db") == [12, 18]

    command = [sys.executable, "-m", "durableflow.engine", "--db", "served.db", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        try:
            assert engine.stdout is not None
            address = next(word for word in engine.stdout.readline().split() if "://" in word)
            assert run(address) == [12, 18]
        finally:
            engine.terminate()
    print("it runs")


if __name__ == "__main__":
    main()
