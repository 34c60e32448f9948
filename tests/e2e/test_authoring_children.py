"""Sub-orchestrations: typed, versioned, named, tagged, tried again, and ended with their parents."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import attrs
import pytest

from durableflow import (
    App,
    Client,
    NotRegisteredError,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    RetryPolicy,
    TaskFailedError,
    when_all,
    when_any,
)
from tests.e2e.watching import SECONDS, output, until, until_status

pytestmark = pytest.mark.e2e

app = App("authoring_children")


@attrs.frozen
class Order:
    product: str
    quantity: int = 1


class Price(NamedTuple):
    amount: float
    currency: str


class SoldOutError(Exception):
    pass


attempts = count(1)


@app.activity
def sell(order: Order) -> Price:
    if order.quantity > 100:
        raise SoldOutError(f"{order.quantity} of {order.product} are too many")
    return Price(2.5 * order.quantity, "EUR")


@app.activity
def next_attempt() -> int:
    return next(attempts)


@app.orchestrator
def buy(ctx: OrchestrationContext, order: Order) -> Orchestration[Price]:
    return (yield ctx.call_activity(sell, input=order))


@app.orchestrator
async def buy_all(ctx: OrchestrationContext, orders: list[Order]) -> list[float]:
    children = [ctx.call_sub_orchestrator(buy, input=order) for order in orders]
    return [price.amount for price in await when_all(children)]


@app.orchestrator
def buy_by_name(ctx: OrchestrationContext, order: Order) -> Orchestration[list[str]]:
    untyped = yield ctx.call_sub_orchestrator("buy", input=order)
    typed = yield ctx.call_sub_orchestrator("buy", input=order, return_type=Price)
    return [type(untyped).__name__, untyped.currency, type(typed).__name__, typed.currency]


@app.orchestrator
async def introduce(ctx: OrchestrationContext) -> list[Any]:
    return [ctx.instance_id, ctx.parent_instance_id, str(ctx.version), ctx.name]


@app.orchestrator(name="introduce", version="2.0.0")
def introduce_v2(ctx: OrchestrationContext) -> list[Any]:
    return [ctx.instance_id, ctx.parent_instance_id, str(ctx.version), "the second"]


@app.orchestrator
async def meet(ctx: OrchestrationContext) -> list[Any]:
    named = f"child of {ctx.instance_id}"
    return [
        await ctx.call_sub_orchestrator(introduce),
        await ctx.call_sub_orchestrator(introduce, instance_id=named, tags={"team": "x"}),
        await ctx.call_sub_orchestrator(introduce_v2),
        await ctx.call_sub_orchestrator("introduce", version="2.0.0"),
        await ctx.call_sub_orchestrator(introduce, version="7.0.0"),
    ]


@app.orchestrator
def fails_at_first(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    attempt = yield ctx.call_activity(next_attempt)
    if attempt < 3:
        raise RuntimeError(f"attempt {attempt}")
    return [attempt, ctx.instance_id, str(ctx.version)]


@app.orchestrator
def persists(ctx: OrchestrationContext, child: str) -> Orchestration[list[Any]]:
    policy = RetryPolicy(first_retry_interval=0.02, max_number_of_attempts=5)
    return (
        yield ctx.call_sub_orchestrator(
            fails_at_first, instance_id=child, version="3.1", retry_policy=policy
        )
    )


@app.orchestrator
async def asks_for_too_many(ctx: OrchestrationContext) -> list[str]:
    try:
        await ctx.call_sub_orchestrator(buy, input=Order("lamp", 1000))
    except TaskFailedError as error:
        return [details.error_type for details in error.details.chain()] + [str(error)]
    return []


@app.orchestrator
async def waits(ctx: OrchestrationContext) -> str:
    await ctx.wait_for_external_event("go")
    return "gone"


@app.orchestrator
async def waits_for_a_child(ctx: OrchestrationContext, child: str) -> str:
    try:
        return await ctx.call_sub_orchestrator(waits, instance_id=child)
    except TaskFailedError as error:
        return f"caught: {error}"


@app.orchestrator
async def has_a_grandchild(ctx: OrchestrationContext, ids: list[str]) -> str:
    return await ctx.call_sub_orchestrator(waits_for_a_child, instance_id=ids[0], input=ids[1])


@app.orchestrator
async def leaves_a_child(ctx: OrchestrationContext, child: str) -> str:
    task = ctx.call_sub_orchestrator(waits, instance_id=child)
    await when_any([task, ctx.create_timer(0.05)])
    return "left"


@app.orchestrator
async def counts_down(ctx: OrchestrationContext, depth: int) -> int:
    if depth == 0:
        return 0
    return 1 + await ctx.call_sub_orchestrator(counts_down, input=depth - 1)


@app.orchestrator
def misspells(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_sub_orchestrator("Buy_All", input=[])


@app.orchestrator
def calls_an_activity_as_a_child(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_sub_orchestrator(next_attempt)  # type: ignore[call-overload] # the mistake


@app.orchestrator
def sends_the_wrong_input(ctx: OrchestrationContext) -> Orchestration[None]:
    yield ctx.call_sub_orchestrator(buy, input={"product": "pen", "quantity": "few"})  # type: ignore[call-overload] # the mistake


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


def test_children_run_side_by_side_and_their_results_are_typed(client: Client):
    orders = [Order("pen", quantity) for quantity in range(1, 21)]

    amounts = client.run_orchestration(buy_all, input=orders, timeout=SECONDS)

    assert amounts == [2.5 * order.quantity for order in orders]


def test_a_child_called_by_name_gives_an_object_or_what_is_asked_for(client: Client):
    kinds = client.run_orchestration(buy_by_name, input=Order("pen"), timeout=SECONDS)

    assert kinds == ["Record", "EUR", "Price", "EUR"]


def test_children_know_their_ids_parents_names_and_versions(client: Client):
    parent = client.schedule_new_orchestration(meet)
    plain, named, second, by_name, by_option = output(client, parent)

    assert plain[1:] == [parent, "", "introduce"]
    assert plain[0].startswith(parent)
    assert named[0] == f"child of {parent}"
    assert second[1:] == [parent, "2.0.0", "the second"]
    assert by_name[1:] == [parent, "2.0.0", "the second"]
    assert by_option[1:] == [parent, "7.0.0", "introduce"]


def test_a_child_is_an_instance_like_others(client: Client):
    parent = client.schedule_new_orchestration(meet)
    output(client, parent)

    child = client.wait_for_orchestration_completion(f"child of {parent}", timeout=SECONDS)

    assert child.name == "introduce"
    assert child.parent_instance_id == parent
    assert dict(child.tags) == {"team": "x"}
    assert client.get_orchestration_history(child.instance_id)


def test_a_child_is_tried_again_under_its_id_and_with_its_version(client: Client):
    global attempts
    attempts = count(1)
    instance = client.schedule_new_orchestration(persists, input="child")

    assert output(client, instance) == [3, "child", "3.1"]


def test_the_failure_of_a_child_brings_the_chain_of_its_causes(client: Client):
    *chain, words = client.run_orchestration(asks_for_too_many, timeout=SECONDS)

    assert chain[-1].endswith("test_authoring_children.SoldOutError")
    assert "buy" in words
    assert "1000 of lamp are too many" in words


def test_a_terminated_child_is_a_failure_for_its_parent(client: Client):
    child = "terminated"
    parent = client.schedule_new_orchestration(waits_for_a_child, input=child)
    until_status(client, child, OrchestrationStatus.RUNNING)
    client.terminate_orchestration(child, output="no more")

    words = output(client, parent)

    assert words.startswith("caught:")
    assert "terminated" in words.lower()


@pytest.mark.parametrize("recursive", [True, False])
def test_terminating_takes_children_and_theirs_along_or_not(client: Client, recursive: bool):
    ids = [f"{generation}, {recursive}" for generation in ("child", "grandchild")]
    parent = client.schedule_new_orchestration(has_a_grandchild, input=ids)
    until_status(client, ids[1], OrchestrationStatus.RUNNING)

    client.terminate_orchestration(parent, output="stop", recursive=recursive)

    until_status(client, parent, OrchestrationStatus.TERMINATED)
    if recursive:
        for child in ids:
            until_status(client, child, OrchestrationStatus.TERMINATED)
    else:
        client.raise_orchestration_event(ids[1], "go")
        assert output(client, ids[0]) == "gone"


@pytest.mark.parametrize("recursive", [True, False])
def test_purging_takes_children_along_or_not(client: Client, recursive: bool):
    parent = client.schedule_new_orchestration(meet, instance_id=f"purged {recursive}")
    output(client, parent)

    purged = client.purge_orchestration(parent, recursive=recursive)

    child = client.get_orchestration_state(f"child of {parent}")
    assert purged.deleted_instance_count == (6 if recursive else 1)
    assert (child is None) == recursive


def test_a_child_outlives_a_parent_that_does_not_wait_for_it(client: Client):
    child = "left"
    assert client.run_orchestration(leaves_a_child, input=child, timeout=SECONDS) == "left"

    client.raise_orchestration_event(child, "go")

    assert output(client, child) == "gone"


def test_children_have_children_have_children(client: Client):
    assert client.run_orchestration(counts_down, input=30, timeout=SECONDS) == 30


def test_a_live_instance_of_the_same_id_fails_the_child_and_goes_on(client: Client):
    other = client.schedule_new_orchestration(waits)
    parent = client.schedule_new_orchestration(waits_for_a_child, input=str(other))

    words = output(client, parent)

    assert words.startswith("caught:")
    assert other in words
    client.raise_orchestration_event(other, "go")
    assert output(client, other) == "gone"


def test_events_reach_children_by_their_ids(client: Client):
    child = "told"
    parent = client.schedule_new_orchestration(waits_for_a_child, input=child)
    until(client, child, lambda state: state.runtime_status is OrchestrationStatus.RUNNING)
    client.raise_orchestration_event(child, "go")

    assert output(client, parent) == "gone"


@pytest.mark.parametrize(
    ("orchestrator", "error", "words"),
    [
        (misspells, NotRegisteredError, "buy_all"),
        (calls_an_activity_as_a_child, NotRegisteredError, "next_attempt"),
        (sends_the_wrong_input, ValueError, "quantity"),
    ],
)
def test_calls_of_children_that_cannot_work_fail_in_words(
    client: Client, orchestrator: Any, error: type[Exception], words: str
):
    with pytest.raises(OrchestrationFailedError, match=words) as caught:
        client.run_orchestration(orchestrator, timeout=SECONDS)

    assert caught.value.details is not None
    assert caught.value.details.is_caused_by(error)
