"""Actions as they travel."""

from __future__ import annotations

import pytest

from durableflow._proto import task_hub_pb2 as pb
from durableflow.protocol.actions import (
    complete_orchestration,
    continue_as_new,
    create_sub_orchestration,
    create_timer,
    schedule_task,
    send_event,
)
from durableflow.protocol.failures import FailureDetails
from durableflow.protocol.times import micros_of


@pytest.mark.parametrize("text", [None, "", '"x"'])
def test_absent_and_empty_payloads_differ(text: str | None):
    scheduled = schedule_task(1, "charge", input=text, version=text).scheduleTask
    completed = complete_orchestration(
        2, pb.ORCHESTRATION_STATUS_COMPLETED, result=text
    ).completeOrchestration
    child = create_sub_orchestration(3, "c", "a:3", input=text, version=text).createSubOrchestration
    sent = send_event(4, "a", "go", data=text).sendEvent
    continued = continue_as_new(5, text, version=text).completeOrchestration

    for message, field in [
        (scheduled, "input"),
        (scheduled, "version"),
        (completed, "result"),
        (child, "input"),
        (child, "version"),
        (sent, "data"),
        (continued, "result"),
        (continued, "newVersion"),
    ]:
        assert message.HasField(field) == (text is not None)
        assert getattr(message, field).value == (text or "")


def test_a_call_carries_its_number_name_and_tags():
    action = schedule_task(7, "charge", tags={"team": "a"})

    assert (action.id, action.scheduleTask.name) == (7, "charge")
    assert dict(action.scheduleTask.tags) == {"team": "a"}


def test_a_child_carries_its_number_name_id_and_tags():
    action = create_sub_orchestration(7, "ship", "a:7", tags={"team": "a"})
    child = action.createSubOrchestration

    assert (action.id, child.name, child.instanceId) == (7, "ship", "a:7")
    assert dict(child.tags) == {"team": "a"}


def test_an_event_carries_its_number_target_and_name():
    action = send_event(7, "a2", "go")

    assert (action.id, action.sendEvent.instance.instanceId, action.sendEvent.name) == (
        7,
        "a2",
        "go",
    )


def test_a_new_execution_gets_its_events_in_order():
    events = [pb.HistoryEvent(eventRaised=pb.EventRaisedEvent(name=name)) for name in "ba"]

    complete = continue_as_new(2, "5", carryover=events).completeOrchestration

    assert complete.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
    assert list(complete.carryoverEvents) == events


def test_a_timer_carries_its_time():
    action = create_timer(3, 1_900_000_000_123_456)

    assert action.id == 3
    assert micros_of(action.createTimer.fireAt) == 1_900_000_000_123_456


def test_a_failed_end_carries_the_failure():
    action = complete_orchestration(
        4, pb.ORCHESTRATION_STATUS_FAILED, failure=FailureDetails("a.B", "c")
    )

    assert action.completeOrchestration.failureDetails.errorType == "a.B"
    assert not action.completeOrchestration.HasField("result")
