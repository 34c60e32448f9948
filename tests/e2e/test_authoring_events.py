"""External events: raised by clients and by orchestrations, waited for in any order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import attrs
import pytest

from durableflow import (
    App,
    Client,
    Orchestration,
    OrchestrationContext,
    OrchestrationFailedError,
    OrchestrationStatus,
    TaskCancelledError,
    when_all,
    when_any,
)
from tests.e2e.watching import SECONDS, output, until, until_status

pytestmark = pytest.mark.e2e

app = App("authoring_events")


@attrs.frozen
class Approval:
    approver: str
    amount: float = 0.0


@dataclasses.dataclass(frozen=True)
class Refusal:
    by: str
    reasons: list[str]


class Vote(NamedTuple):
    voter: str
    yes: bool


@app.orchestrator
def in_order(ctx: OrchestrationContext, names: list[str]) -> Orchestration[list[Any]]:
    received = []
    for name in names:
        data = yield ctx.wait_for_external_event(name)
        received.append(data)
    return received


@app.orchestrator
async def at_once(ctx: OrchestrationContext, names: list[str]) -> list[Any]:
    return await when_all([ctx.wait_for_external_event(name) for name in names])


@app.orchestrator
async def typed(ctx: OrchestrationContext) -> list[str]:
    approval = await ctx.wait_for_external_event("approval", data_type=Approval)
    refusal = await ctx.wait_for_external_event("refusal", data_type=Refusal)
    vote = await ctx.wait_for_external_event("vote", data_type=Vote)
    return [type(x).__name__ for x in (approval, refusal, vote)] + [
        approval.approver,
        refusal.reasons[0],
        vote.voter,
    ]


@app.orchestrator
def untyped(ctx: OrchestrationContext) -> Orchestration[list[Any]]:
    approval = yield ctx.wait_for_external_event("approval")
    refusal = yield ctx.wait_for_external_event("refusal")
    vote = yield ctx.wait_for_external_event("vote")
    return [approval.approver, refusal.reasons[0], vote.voter]


@app.orchestrator
def with_a_deadline(ctx: OrchestrationContext, seconds: float) -> Orchestration[str]:
    try:
        return (yield ctx.wait_for_external_event("answer", timeout=timedelta(seconds=seconds)))
    except TimeoutError as error:
        return str(error)


@app.orchestrator
async def gives_up_one_wait(ctx: OrchestrationContext) -> list[Any]:
    abandoned = ctx.wait_for_external_event("answer")
    timer = ctx.create_timer(0.05)
    assert await when_any([abandoned, timer]) is timer
    cancelled = [abandoned.cancel(), abandoned.cancel()]
    try:
        await abandoned
    except TaskCancelledError as error:
        ctx.set_custom_status(str(error))
    return [*cancelled, await ctx.wait_for_external_event("answer")]


@app.orchestrator
async def wants_an_approval(ctx: OrchestrationContext) -> float:
    approval = await ctx.wait_for_external_event("approval", data_type=Approval)
    return approval.amount


@app.orchestrator
async def leaves_an_event(ctx: OrchestrationContext) -> str:
    await ctx.wait_for_external_event("wanted")
    return "done"


@app.orchestrator
def tells(ctx: OrchestrationContext, whom: str) -> Orchestration[str]:
    ctx.send_event(whom, "first", data=Approval("Ann", 1.5))
    yield ctx.create_timer(0)
    ctx.send_event(whom, "second")
    ctx.send_event("nobody", "first", data=1)
    ctx.send_event(ctx.instance_id, "echo", data=2)
    return "told"


@app.orchestrator
async def first_of_both(ctx: OrchestrationContext) -> str:
    yes, no = (ctx.wait_for_external_event(name) for name in ("yes", "no"))
    winner = await when_any(yes, no)
    return "yes" if winner is yes else "no"


@pytest.fixture(scope="module")
def client(task_hub: str) -> Iterator[Client]:
    with app.running(task_hub=task_hub) as client:
        yield client


@pytest.mark.parametrize("orchestrator", [in_order, at_once])
def test_events_that_arrive_before_anybody_waits_are_kept(client: Client, orchestrator: Any):
    instance = client.schedule_new_orchestration(orchestrator, input=["b", "a", "c"])
    for name in ["a", "b", "c"]:
        client.raise_orchestration_event(instance, name, data=f"data of {name}")

    assert output(client, instance) == ["data of b", "data of a", "data of c"]


@pytest.mark.parametrize("orchestrator", [in_order, at_once])
def test_events_of_one_name_go_to_waits_in_the_order_of_arrival(client: Client, orchestrator: Any):
    instance = client.schedule_new_orchestration(orchestrator, input=["e"] * 5)
    for number in range(5):
        client.raise_orchestration_event(instance, "e", data=number)

    assert output(client, instance) == [0, 1, 2, 3, 4]


def test_the_case_of_names_does_not_matter(client: Client):
    instance = client.schedule_new_orchestration(in_order, input=["Approval", "STRASSE"])
    client.raise_orchestration_event(instance, "aPPROVAL", data=1)
    client.raise_orchestration_event(instance, "straße", data=2)

    assert output(client, instance) == [1, 2]


@pytest.mark.parametrize("orchestrator", [typed, untyped], ids=["typed", "untyped"])
def test_objects_of_all_kinds_arrive_with_their_attributes(client: Client, orchestrator: Any):
    instance = client.schedule_new_orchestration(orchestrator)
    client.raise_orchestration_event(instance, "vote", data=Vote("Cid", True))
    client.raise_orchestration_event(instance, "refusal", data=Refusal("Bea", ["too dear"]))
    client.raise_orchestration_event(instance, "approval", data=Approval("Ann"))

    assert output(client, instance)[-3:] == ["Ann", "too dear", "Cid"]


def test_typed_events_are_objects_of_their_classes(client: Client):
    instance = client.schedule_new_orchestration(typed)
    client.raise_orchestration_event(instance, "vote", data=["Cid", True])
    client.raise_orchestration_event(instance, "refusal", data={"by": "Bea", "reasons": ["no"]})
    client.raise_orchestration_event(instance, "approval", data={"approver": "Ann"})

    assert output(client, instance)[:3] == ["Approval", "Refusal", "Vote"]


@pytest.mark.parametrize("data", [None, 0, "", False, [], {}, 0.5, "straße 🎉"])
def test_data_arrives_as_it_was_sent_also_if_it_is_falsy(client: Client, data: Any):
    instance = client.schedule_new_orchestration(in_order, input=["e"])
    client.raise_orchestration_event(instance, "e", data=data)

    assert output(client, instance) == [data]


def test_an_event_that_does_not_fit_its_type_fails_with_event_class_and_field(client: Client):
    instance = client.schedule_new_orchestration(wants_an_approval)
    client.raise_orchestration_event(
        instance, "approval", data={"approver": "Ann", "amount": "much"}
    )

    with pytest.raises(OrchestrationFailedError) as caught:
        output(client, instance)

    for word in ["approval", "Approval", "amount", "float"]:
        assert word in str(caught.value)
    assert "much" not in str(caught.value)


def test_a_wait_that_lasts_too_long_fails_with_a_timeout(client: Client):
    words = client.run_orchestration(with_a_deadline, input=0.05, timeout=SECONDS)

    assert "answer" in words
    assert "0:00:00.05" in words


def test_an_answer_in_time_is_taken_and_its_deadline_holds_nothing_up(client: Client):
    instance = client.schedule_new_orchestration(with_a_deadline, input=3600)
    client.raise_orchestration_event(instance, "answer", data="here")

    assert output(client, instance) == "here"


def test_a_cancelled_wait_can_be_caught_and_takes_no_event(client: Client):
    instance = client.schedule_new_orchestration(gives_up_one_wait)
    until(client, instance, lambda state: state.serialized_custom_status)
    client.raise_orchestration_event(instance, "answer", data="for the second wait")

    state = client.wait_for_orchestration_completion(instance, timeout=SECONDS)

    assert state.get_output() == [True, False, "for the second wait"]
    assert "answer" in state.get_custom_status()


def test_events_that_nobody_awaits_do_no_harm(client: Client):
    instance = client.schedule_new_orchestration(leaves_an_event)
    for number in range(20):
        client.raise_orchestration_event(instance, f"unwanted {number}", data=number)
    client.raise_orchestration_event(instance, "wanted")

    assert output(client, instance) == "done"
    client.raise_orchestration_event(instance, "wanted")


def test_orchestrations_send_events_to_others_and_to_nobody(client: Client):
    listener = client.schedule_new_orchestration(in_order, input=["first", "second"])

    assert client.run_orchestration(tells, input=str(listener), timeout=SECONDS) == "told"
    first, second = output(client, listener)
    assert (first.approver, first.amount, second) == ("Ann", 1.5, None)


def test_events_raised_while_suspended_arrive_after_the_resume(client: Client):
    instance = client.schedule_new_orchestration(in_order, input=["a", "b"])
    client.wait_for_orchestration_start(instance, timeout=SECONDS)
    client.suspend_orchestration(instance, reason="lunch")
    until_status(client, instance, OrchestrationStatus.SUSPENDED)
    client.raise_orchestration_event(instance, "b", data=2)
    client.raise_orchestration_event(instance, "a", data=1)
    client.resume_orchestration(instance)

    assert output(client, instance) == [1, 2]


@pytest.mark.parametrize("name", ["yes", "no"])
def test_the_first_of_several_events_wins(client: Client, name: str):
    instance = client.schedule_new_orchestration(first_of_both)
    client.raise_orchestration_event(instance, name)

    assert output(client, instance) == name
