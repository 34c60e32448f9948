"""Activities and orchestrators that several tests use."""

from __future__ import annotations

from datetime import timedelta

import pytest
from attrs import frozen

from durableflow import RetryPolicy, TaskFailedError
from durableflow.replay import Orchestration, OrchestrationContext


@frozen
class Order:
    product: str
    quantity: int


@frozen
class Receipt:
    number: int


def charge(order: Order) -> Receipt:
    return Receipt(order.quantity)


def hello(name: str) -> str:
    return f"Hello {name}!"


def ping() -> None:
    """Do nothing."""


def chain(ctx: OrchestrationContext) -> Orchestration[list[str]]:
    first = yield ctx.call_activity(hello, input="Ann")
    second = yield from ctx.call_activity(hello, input="Bob")
    return [first, second]


async def awaiting_chain(ctx: OrchestrationContext) -> list[str]:
    return [
        await ctx.call_activity(hello, input="Ann"),
        await ctx.call_activity(hello, input="Bob"),
    ]


both_styles = pytest.mark.parametrize("function", [chain, awaiting_chain])


POLICY = RetryPolicy(
    first_retry_interval=timedelta(seconds=2), max_number_of_attempts=3, backoff_coefficient=2
)


def persistent(ctx: OrchestrationContext) -> Orchestration[str]:
    try:
        return (yield ctx.call_activity(hello, input="Ann", retry_policy=POLICY))
    except TaskFailedError as error:
        return str(error)
