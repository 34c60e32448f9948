"""Human interaction: an expensive order waits for somebody's approval, but not for ever.

``python examples/human_interaction.py`` shows the three ways in which an order can end.

``python examples/human_interaction.py --ask`` places an order and asks you at a prompt.  You can also
approve it in a second terminal, by ``python examples/human_interaction.py --approve INSTANCE_ID``, or
stop the program and go on later by ``--ask --order INSTANCE_ID``: the order waits for 24 hours,
whether a program runs or not.
"""

import argparse
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from attrs import frozen

from durableflow import (
    ActivityContext,
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    RetryPolicy,
    when_any,
)

app = App("human_interaction")


# Inputs, results and events may be of classes of your own: attrs, data classes, named tuples.


@frozen
class Order:
    Cost: float
    Product: str
    Quantity: int
    approve_within: timedelta = timedelta(hours=24)


@dataclass(frozen=True)
class Receipt:
    order: Order
    number: str


class Approval(NamedTuple):
    approver: str


@app.activity
def send_approval_request(ctx: ActivityContext, order: Order) -> None:
    print(f"Please approve {order.Quantity} × {order.Product} for {order.Cost:.2f}.")


@app.activity(
    retry_policy=RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=5)
)
async def place_order(ctx: ActivityContext, order: Order) -> Receipt:
    return Receipt(order, number=f"{order.Product}-1")


@app.orchestrator
def purchase_order_workflow(ctx: OrchestrationContext, order: Order) -> Orchestration[str]:
    if order.Cost < 1000:
        return "Auto-approved"

    yield ctx.call_activity(send_approval_request, input=order)
    approval = ctx.wait_for_external_event("approval_received", data_type=Approval)
    timeout = ctx.create_timer(order.approve_within)
    winner = yield when_any(approval, timeout)
    if winner == timeout:
        return "Canceled"

    receipt = yield from ctx.call_activity(place_order, input=order)
    return f"Order {receipt.number} approved by '{approval.get_result().approver}'"


def show() -> None:
    """Go through the three ways, waiting a moment instead of a day."""
    with app.running() as client:
        print(client.run_orchestration(purchase_order_workflow, input=Order(10, "pen", 1)))

        laptop = client.schedule_new_orchestration(
            purchase_order_workflow, input=Order(2000, "laptop", 1)
        )
        client.raise_orchestration_event(laptop, "approval_received", data=Approval("Ann"))
        print(client.wait_for_orchestration_completion(laptop, timeout=30).get_output())

        yacht = Order(2_000_000, "yacht", 1, approve_within=timedelta(seconds=0.2))
        print(client.run_orchestration(purchase_order_workflow, input=yacht))


def ask(instance_id: str | None) -> None:
    """Place an order, or go on with one; show how it ends, wherever it is approved."""
    with app.running() as client:
        order = instance_id or client.schedule_new_orchestration(
            purchase_order_workflow, input=Order(2000, "laptop", 1)
        )
        print(f"Order {order} waits. Type your name to approve it:", flush=True)
        threading.Thread(target=prompt, args=(client, order), daemon=True).start()
        print(client.wait_for_orchestration_completion(order).get_output())


def prompt(client: Client, order: str) -> None:
    try:
        name = input()
    except EOFError:  # there is no keyboard
        return
    client.raise_orchestration_event(order, "approval_received", data=Approval(name))


def approve(order: str, approver: str) -> None:
    """Approve an order that another process works on."""
    with app.client() as client:
        client.raise_orchestration_event(order, "approval_received", data=Approval(approver))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Place and approve orders.")
    parser.add_argument("--ask", action="store_true", help="ask for approval at a prompt")
    parser.add_argument("--order", metavar="INSTANCE_ID", help="an order placed before")
    parser.add_argument("--approve", metavar="INSTANCE_ID", help="approve an order")
    parser.add_argument("--approver", default="Me", help="who approves it")
    arguments = parser.parse_args()
    if arguments.approve:
        approve(arguments.approve, arguments.approver)
    elif arguments.ask:
        ask(arguments.order)
    else:
        show()

# Output:
# Auto-approved
# Please approve 1 × laptop for 2000.00.
# Order laptop-1 approved by 'Ann'
# Please approve 1 × yacht for 2000000.00.
# Canceled
