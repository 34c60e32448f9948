"""Events sent to other instances, and the options of calls."""

from __future__ import annotations

from typing import Any

import pytest

from durableflow.protocol.metadata import ATTEMPT
from durableflow.replay import Orchestration, OrchestrationContext
from tests.unit.replay.histories import (
    Bench,
    completed,
    described,
    event_sent,
    failed,
    failure_of,
    scheduled,
    started,
    timer_created,
    timer_fired,
    turns,
)
from tests.unit.replay.orchestrators import POLICY, Order, hello, ping


def sends(ctx: OrchestrationContext) -> Orchestration[None]:
    ctx.send_event("b2", "Approved", data=Order("pen", 3))
    yield ctx.call_activity(ping)


async def sends_in_a_coroutine(ctx: OrchestrationContext) -> None:
    ctx.send_event("b2", "Approved", data=Order("pen", 3))
    await ctx.call_activity(ping)


@pytest.mark.parametrize("function", [sends, sends_in_a_coroutine])
def test_an_event_is_sent_without_waiting(bench: Bench, function: Any):
    past = turns([started(), event_sent(1, "b2", "Approved"), scheduled(2, "ping")])

    assert described(bench.run(function, started())) == [
        '1 to b2: Approved({"product":"pen","quantity":3})',
        "2 ping()",
    ]
    assert described(bench.run(function, completed(2), past=past)) == ["completed"]


def test_an_event_needs_no_data(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.send_event("b2", "go")

    sent = bench.run(order, started()).actions[0].sendEvent

    assert not sent.HasField("data")


def test_data_that_cannot_travel_is_refused_at_the_call(bench: Bench):
    def order(ctx: OrchestrationContext) -> None:
        ctx.send_event("b2", "go", data=float("nan"))

    turn = bench.run(order, started())

    assert "data of event 'go'" in failure_of(turn).errorMessage
    assert len(turn.actions) == 1


def test_another_event_in_its_place_is_told(bench: Bench):
    past = turns([started(), event_sent(1, "b2", "Refused"), scheduled(2, "ping")])

    reason = bench.diverge(sends, past, completed(2))

    assert (
        "sent event 'Refused' to instance 'b2', but the code now sends event 'Approved' to "
        "instance 'b2'"
    ) in reason


def test_an_answer_to_it_is_told(bench: Bench):
    past = turns([started(), event_sent(1, "b2", "Approved"), scheduled(2, "ping")])

    assert "fired timer 3" in bench.diverge(sends, past, timer_fired(3))


# Tags


def test_tags_travel_with_a_call_and_each_retry_counts_its_attempts(bench: Bench):
    def order(ctx: OrchestrationContext) -> Orchestration[None]:
        yield ctx.call_activity(hello, input="Ann", retry_policy=POLICY, tags={"team": "a"})

    past = turns([started(), scheduled(1, "hello")], [failed(1), timer_created(2, 3)])

    first = bench.run(order, started()).actions[0]
    second = bench.run(order, timer_fired(2), past=past).actions[0]

    assert dict(first.scheduleTask.tags) == {"team": "a"}
    assert dict(second.scheduleTask.tags) == {"team": "a", ATTEMPT: "2"}
