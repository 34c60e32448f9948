"""Orchestrators and activities as users of the ``durabletask`` package write them.

``test_coming_from_durabletask`` runs this file as it stands, and with one line changed.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta

from durabletask import task

logger = logging.getLogger(__name__)

policy = task.RetryPolicy(
    first_retry_interval=timedelta(milliseconds=20),
    max_number_of_attempts=3,
    backoff_coefficient=1,
    max_retry_interval=timedelta(seconds=1),
    retry_timeout=timedelta(seconds=30),
)
failed = set()


@dataclass
class Order:
    cost: float
    product: str
    quantity: int


@dataclass
class Approval:
    approver: str


def hello(ctx: task.ActivityContext, name: str) -> str:
    return f"Hello {name}!"


def get_numbers(ctx: task.ActivityContext, count: int) -> list[int]:
    return list(range(count))


def square(ctx: task.ActivityContext, number: int) -> int:
    return number * number


def send_approval_request(ctx: task.ActivityContext, order: Order) -> None:
    logger.info("please approve %s", order.product)


def place_order(ctx: task.ActivityContext, order: Order) -> str:
    return f"{order.quantity} {order.product}"


def fail_at_first(ctx: task.ActivityContext, key: str) -> str:
    if key not in failed:
        failed.add(key)
        raise ConnectionError("not yet")
    return f"{key} succeeded"


def refuse(ctx: task.ActivityContext, reason: str) -> None:
    raise ValueError(reason)


def sequence(ctx: task.OrchestrationContext, _):
    result1 = yield ctx.call_activity(hello, input="Tokyo")
    result2 = yield ctx.call_activity(hello, input="Seattle")
    result3 = yield ctx.call_activity("hello", input="London")
    return [result1, result2, result3]


def fan_out(ctx: task.OrchestrationContext, count: int):
    numbers: list[int] = yield ctx.call_activity(get_numbers, input=count)
    tasks = [ctx.call_activity(square, input=number) for number in numbers]
    results: list[int] = yield task.when_all(tasks)
    return {"numbers": numbers, "results": results, "total": sum(results)}


def purchase(ctx: task.OrchestrationContext, order: Order):
    if order.cost < 1000:
        return "Auto-approved"
    yield ctx.call_activity(send_approval_request, input=order)
    approval_event = ctx.wait_for_external_event("approval_received")
    timeout_event = ctx.create_timer(timedelta(hours=24))
    winner = yield task.when_any([approval_event, timeout_event])
    if winner == timeout_event:
        return "Canceled"
    placed = yield ctx.call_activity(place_order, input=order)
    return f"{placed} approved by {approval_event.get_result()['approver']!r}"


def purchase_typed(ctx: task.OrchestrationContext, order: Order):
    approval_event = ctx.wait_for_external_event("Approval_Received", data_type=Approval)
    timeout_event = ctx.create_timer(timedelta(seconds=0.1 if order.cost == 0 else 60))
    winner = yield task.when_any([approval_event, timeout_event])
    if winner == timeout_event:
        return "Canceled"
    return [approval_event.is_complete, timeout_event.is_complete, winner.get_result().approver]


def child(ctx: task.OrchestrationContext, key: str):
    return (yield ctx.call_activity(fail_at_first, input=key, retry_policy=policy))


def parent(ctx: task.OrchestrationContext, keys: list[str]):
    ctx.set_custom_status({"children": len(keys)})
    children = [ctx.call_sub_orchestrator(child, input=key, retry_policy=policy) for key in keys]
    named = yield ctx.call_sub_orchestrator(
        "child", input=f"{ctx.instance_id} named", instance_id=f"{ctx.instance_id}-named"
    )
    results = yield task.when_all(children)
    return [*results, named == f"{ctx.instance_id} named succeeded"]


def catch(ctx: task.OrchestrationContext, reason: str):
    try:
        yield ctx.call_activity(refuse, input=reason)
    except task.TaskFailedError as error:
        details: task.FailureDetails = error.details
        return [details.message, details.is_caused_by(ValueError), bool(details.stack_trace)]


def count_down(ctx: task.OrchestrationContext, left: int):
    yield ctx.create_timer(ctx.current_utc_datetime + timedelta(milliseconds=1))
    if left == 1:
        return "done"
    ctx.continue_as_new(left - 1, save_events=True)


def collect(ctx: task.OrchestrationContext, _):
    ctx.create_replay_safe_logger(logger).info("collecting")
    first = yield ctx.wait_for_external_event("item")
    second = yield ctx.wait_for_external_event("ITEM")
    return [first, second, len(ctx.new_uuid())]


def tell(ctx: task.OrchestrationContext, instance_id: str):
    ctx.send_event(instance_id, "item", data=1)
    ctx.send_event(instance_id, "item", data=2)
    yield ctx.create_timer(timedelta(0))


def cancel(ctx: task.OrchestrationContext, _):
    timer = ctx.create_timer(timedelta(hours=1))
    quick = ctx.call_activity(square, input=3)
    yield task.when_any([timer, quick])
    timer.cancel()
    return [quick.is_complete, quick.is_failed, quick.get_result()]


def versioned(ctx: task.OrchestrationContext, _):
    if ctx.version == "1.0.0":
        return "the old way"
    if ctx.version > "1.0.0":
        return (yield ctx.call_activity(hello, input="new world"))


ACTIVITIES = [
    hello, get_numbers, square, send_approval_request, place_order, fail_at_first, refuse,
]  # fmt: skip
ORCHESTRATORS = [
    sequence, fan_out, purchase, purchase_typed, child, parent, catch, count_down, collect, tell,
    cancel, versioned,
]  # fmt: skip
